//! What one request asks for, read off its host and path and nothing else.

use std::borrow::Cow;

use http::uri::Authority;
use http::{HeaderMap, Uri, header};

use crate::InstanceId;
use crate::error::Error;
use crate::site::{AppHost, Site};

/// Path on every app host that belongs to the platform.
pub(crate) const PLATFORM_PATH: &str = "/.wavestore/";

/// The two forms of an instance's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `<id>.<apps-domain>/`
    Domain,
    /// `apps.<apps-domain>/instance/<id>/`
    BaseUrl,
}

impl Form {
    /// Path that an instance lives under, when it is called `name`.
    #[must_use]
    pub(crate) fn base(self, name: &InstanceId) -> Cow<'static, str> {
        match self {
            Self::Domain => "/".into(),
            Self::BaseUrl => format!("{}{name}/", crds::INSTANCE_PATH).into(),
        }
    }
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The store's own pages.
    Store,
    /// An instance, by either form of its address.
    Instance {
        /// Its name: its own, or an alias.
        name: InstanceId,
        /// The host that was used.
        host: AppHost,
        /// The form that was used.
        form: Form,
    },
    /// `apps.<apps-domain>/instance/<id>`, which lacks its last slash.
    Slashless(InstanceId),
    /// The platform's own path on an app host.
    Platform(AppHost),
    /// A host or path that nothing can live at.
    Nowhere,
}

impl Target {
    /// Reads the target. `host` is a name without a port; only `path` is looked at, undecoded. Hosts that are not the site's may
    /// be those of aliases, which `own_host` knows.
    #[must_use]
    pub(crate) fn parse(
        site: &Site,
        own_host: impl Fn(&str) -> Option<AppHost>,
        host: &str,
        path: &str,
    ) -> Self {
        if !path.starts_with('/') {
            return Self::Nowhere;
        }
        if site.is_store(host) {
            return Self::Store;
        }
        let Some(app_host) = site.app_host(host).or_else(|| own_host(host)) else {
            return Self::Nowhere;
        };
        if path.starts_with(PLATFORM_PATH) {
            return Self::Platform(app_host);
        }
        match app_host {
            AppHost::Instance(ref name)
            | AppHost::Own {
                alias: ref name, ..
            } => Self::Instance {
                name: name.clone(),
                host: app_host,
                form: Form::Domain,
            },
            AppHost::Shared => {
                let Some(rest) = path.strip_prefix(crds::INSTANCE_PATH) else {
                    return Self::Nowhere;
                };
                let (segment, slash) = rest
                    .split_once('/')
                    .map_or((rest, false), |(segment, _)| (segment, true));
                match (segment.parse(), slash) {
                    (Ok(name), true) => Self::Instance {
                        name,
                        host: AppHost::Shared,
                        form: Form::BaseUrl,
                    },
                    (Ok(id), false) => Self::Slashless(id),
                    (Err(_), _) => Self::Nowhere,
                }
            }
        }
    }
}

/// The one authority that a request names.
///
/// # Errors
/// No host, more than one, one that is no `host[:port]`, or a request target that contradicts the Host header.
pub(crate) fn authority(uri: &Uri, headers: &HeaderMap) -> Result<Authority, Error> {
    let mut lines = headers.get_all(header::HOST).iter();
    let named = match (lines.next(), lines.next()) {
        (Some(line), None) => {
            Some(Authority::try_from(line.as_bytes()).map_err(|_| Error::BadHost)?)
        }
        (None, _) => None,
        (Some(_), Some(_)) => return Err(Error::BadHost),
    };
    let authority = match (named, uri.authority()) {
        (Some(named), Some(target)) if named != *target => return Err(Error::AuthorityMismatch),
        (Some(named), _) => named,
        (None, Some(target)) => target.clone(),
        (None, None) => return Err(Error::BadHost),
    };
    let text = authority.as_str();
    let port = text.strip_prefix(authority.host()).ok_or(Error::BadHost)?;
    if !port.is_empty() && authority.port_u16().is_none() {
        return Err(Error::BadHost);
    }
    Ok(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> InstanceId {
        text.parse().expect("an instance name")
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one table")]
    fn host_and_path_choose_the_target() {
        let site = Site::new("http://store.test:8080", "apps.test:8080").expect("a site");
        let domain = |name: &str| Target::Instance {
            name: id(name),
            host: AppHost::Instance(id(name)),
            form: Form::Domain,
        };
        let base = |name: &str| Target::Instance {
            name: id(name),
            host: AppHost::Shared,
            form: Form::BaseUrl,
        };
        let crm = || AppHost::Own {
            host: "crm.test".to_owned(),
            alias: id("crm"),
        };
        let own_host = |host: &str| (host == "crm.test").then(crm);
        let cases = [
            ("the store", "store.test", "/", Target::Store),
            ("the store in capitals", "STORE.Test", "/x", Target::Store),
            (
                "an instance's own host",
                "sales.apps.test",
                "/",
                domain("sales"),
            ),
            (
                "its host in capitals",
                "Sales.APPS.test",
                "/",
                domain("sales"),
            ),
            (
                "a deep path",
                "sales.apps.test",
                "/instance/other/",
                domain("sales"),
            ),
            (
                "the shared host",
                "apps.apps.test",
                "/instance/sales/",
                base("sales"),
            ),
            (
                "a path below",
                "apps.apps.test",
                "/instance/sales/_s/",
                base("sales"),
            ),
            (
                "a whole segment only",
                "apps.apps.test",
                "/instance/salesx/",
                base("salesx"),
            ),
            (
                "no last slash",
                "apps.apps.test",
                "/instance/sales",
                Target::Slashless(id("sales")),
            ),
            (
                "an encoded name",
                "apps.apps.test",
                "/instance/%73ales/",
                Target::Nowhere,
            ),
            ("dots", "apps.apps.test", "/instance/../", Target::Nowhere),
            (
                "a name in capitals",
                "apps.apps.test",
                "/instance/Sales/",
                Target::Nowhere,
            ),
            (
                "an empty name",
                "apps.apps.test",
                "/instance//",
                Target::Nowhere,
            ),
            (
                "a doubled slash",
                "apps.apps.test",
                "//instance/sales/",
                Target::Nowhere,
            ),
            (
                "the shared host's root",
                "apps.apps.test",
                "/",
                Target::Nowhere,
            ),
            (
                "the reserved name",
                "apps.apps.test",
                "/instance/apps/",
                Target::Nowhere,
            ),
            ("the domain itself", "apps.test", "/", Target::Nowhere),
            ("two labels", "a.b.apps.test", "/", Target::Nowhere),
            ("an empty label", ".apps.test", "/", Target::Nowhere),
            (
                "a suffix that is no label",
                "salesapps.test",
                "/",
                Target::Nowhere,
            ),
            ("another host", "evil.test", "/", Target::Nowhere),
            ("a dot at the end", "sales.apps.test.", "/", Target::Nowhere),
            ("an address", "127.0.0.1", "/", Target::Nowhere),
            ("an asterisk", "store.test", "*", Target::Nowhere),
            (
                "the platform's path",
                "sales.apps.test",
                "/.wavestore/session",
                Target::Platform(AppHost::Instance(id("sales"))),
            ),
            (
                "an alias's own host",
                "crm.test",
                "/instance/other/",
                Target::Instance {
                    name: id("crm"),
                    host: crm(),
                    form: Form::Domain,
                },
            ),
            (
                "the platform's path there",
                "crm.test",
                "/.wavestore/session",
                Target::Platform(crm()),
            ),
            (
                "the platform's path on the shared host",
                "apps.apps.test",
                "/.wavestore/session",
                Target::Platform(AppHost::Shared),
            ),
        ];
        for (name, host, path, target) in cases {
            assert_eq!(Target::parse(&site, own_host, host, path), target, "{name}");
        }
    }

    #[test]
    fn one_request_names_one_authority() {
        let cases: [(&str, &str, &[&str], Option<&str>); 10] = [
            (
                "origin form",
                "/x",
                &["sales.test:80"],
                Some("sales.test:80"),
            ),
            (
                "absolute form that agrees",
                "http://sales.test/x",
                &["Sales.test"],
                Some("Sales.test"),
            ),
            (
                "absolute form that differs",
                "http://store.test/x",
                &["sales.test"],
                None,
            ),
            (
                "absolute form with another port",
                "http://sales.test:1/x",
                &["sales.test"],
                None,
            ),
            (
                ":authority alone",
                "http://sales.test/x",
                &[],
                Some("sales.test"),
            ),
            ("no host", "/x", &[], None),
            ("two hosts", "/x", &["sales.test", "sales.test"], None),
            ("a user", "/x", &["store.test@sales.test"], None),
            ("a port that is none", "/x", &["sales.test:x"], None),
            ("an empty host", "/x", &[""], None),
        ];
        for (name, uri, hosts, expected) in cases {
            let uri: Uri = uri.parse().expect("a uri");
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().expect("a value"));
            }
            let found = authority(&uri, &headers).ok();
            assert_eq!(found.as_ref().map(Authority::as_str), expected, "{name}");
        }
    }
}
