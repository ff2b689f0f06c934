//! Where the store and its instances live: hosts, origins and URLs.

use std::fmt::Write;

use url::Url;

use crate::InstanceId;
use crate::target::Form;

/// Host of all apps in `BASE_URL` mode, before the apps' domain.
const SHARED_LABEL: &str = crds::RESERVED_INSTANCE_NAME;

/// The addresses that this store serves.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    scheme: &'static str,
    store_origin: String,
    store_host: String,
    apps_domain: String,
    apps_port: Option<u16>,
}

/// A host that apps live on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AppHost {
    /// `<id>.<apps-domain>`
    Instance(InstanceId),
    /// `apps.<apps-domain>`, shared by all apps in `BASE_URL` mode.
    Shared,
    /// An alias's own host.
    Own {
        /// Its name, in lower case and without a port.
        host: String,
        /// The alias.
        alias: InstanceId,
    },
}

/// A setting that gives no usable address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSite {
    /// `--store-url` has another scheme, or no host, or a path.
    #[error("`--store-url` is `{0}`; it must be `http://` or `https://` with a host, and no path")]
    StoreUrl(String),
    /// `--apps-domain` is no host with an optional port.
    #[error(
        "`--apps-domain` is `{0}`; it must be a domain with an optional port, such as `apps.example.com`"
    )]
    AppsDomain(String),
    /// The store would live on the host of all `BASE_URL` apps.
    #[error(
        "`--store-url` is on `{0}`, which is the host of apps in BASE_URL mode; an app there could act as its visitor in the store"
    )]
    SharedHost(String),
}

impl Site {
    /// Reads the two settings.
    ///
    /// # Errors
    /// Says which setting is wrong and what it must be.
    pub(crate) fn new(store_url: &str, apps_domain: &str) -> Result<Self, InvalidSite> {
        let bad_url = || InvalidSite::StoreUrl(store_url.to_owned());
        let url: Url = store_url.parse().map_err(|_| bad_url())?;
        let scheme = match url.scheme() {
            "http" => "http",
            "https" => "https",
            _ => return Err(bad_url()),
        };
        let store_host = url.host_str().ok_or_else(bad_url)?.to_owned();
        let plain = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !plain {
            return Err(bad_url());
        }

        let bad_domain = || InvalidSite::AppsDomain(apps_domain.to_owned());
        let domain: Url = format!("{scheme}://{apps_domain}/")
            .parse()
            .map_err(|_| bad_domain())?;
        let Some(url::Host::Domain(name)) = domain.host() else {
            return Err(bad_domain());
        };
        if domain.path() != "/" || apps_domain.contains(['/', '@', '?', '#']) {
            return Err(bad_domain());
        }
        let name = name.to_owned();
        if store_host == format!("{SHARED_LABEL}.{name}") {
            return Err(InvalidSite::SharedHost(store_host));
        }
        Ok(Self {
            scheme,
            store_origin: url.origin().ascii_serialization(),
            store_host,
            apps_domain: name,
            apps_port: domain.port(),
        })
    }

    /// `http` or `https`.
    #[must_use]
    pub(crate) fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// Whether cookies can be `Secure`.
    #[must_use]
    pub(crate) fn is_secure(&self) -> bool {
        self.scheme == "https"
    }

    /// Origin of the store's pages, such as `https://store.example.com`.
    #[must_use]
    pub(crate) fn store_origin(&self) -> &str {
        &self.store_origin
    }

    /// Host name of `host`, in lower case and without a port.
    #[must_use]
    pub(crate) fn host_name(&self, host: &AppHost) -> String {
        match host {
            AppHost::Instance(id) => format!("{id}.{}", self.apps_domain),
            AppHost::Shared => format!("{SHARED_LABEL}.{}", self.apps_domain),
            AppHost::Own { host, .. } => host.clone(),
        }
    }

    /// Whether `host` is called `name`, as [`host_name`](Self::host_name) says: without making that name.
    #[must_use]
    pub(crate) fn is_called(&self, host: &AppHost, name: &str) -> bool {
        let label: &str = match host {
            AppHost::Instance(id) => id.as_ref(),
            AppHost::Shared => SHARED_LABEL,
            AppHost::Own { host, .. } => return host == name,
        };
        name.strip_suffix(&self.apps_domain)
            .and_then(|rest| rest.strip_suffix('.'))
            .is_some_and(|rest| rest == label)
    }

    /// Origin of `host`, such as `https://sales.apps.example.com`.
    #[must_use]
    pub(crate) fn app_origin(&self, host: &AppHost) -> String {
        let mut origin = format!("{}://{}", self.scheme, self.host_name(host));
        if let Some(port) = self.apps_port {
            let _ = write!(origin, ":{port}");
        }
        origin
    }

    /// Source expression that matches every app's origin, for a content security policy.
    #[must_use]
    pub(crate) fn app_origins_pattern(&self) -> String {
        let port = self
            .apps_port
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        format!("{}://*.{}{port}", self.scheme, self.apps_domain)
    }

    /// Address of an instance in the given form.
    #[must_use]
    pub(crate) fn instance_url(&self, id: &InstanceId, form: Form) -> String {
        match form {
            Form::Domain => format!("{}/", self.app_origin(&AppHost::Instance(id.clone()))),
            Form::BaseUrl => {
                format!(
                    "{}{}{id}/",
                    self.app_origin(&AppHost::Shared),
                    crds::INSTANCE_PATH
                )
            }
        }
    }

    /// The store's own host, without a port.
    #[must_use]
    pub(crate) fn store_host(&self) -> &str {
        &self.store_host
    }

    /// Domain below which every instance has its host, without a port.
    #[must_use]
    pub(crate) fn apps_domain(&self) -> &str {
        &self.apps_domain
    }

    /// Whether `name`, without a port, is the store's own host.
    #[must_use]
    pub(crate) fn is_store(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case(&self.store_host)
    }

    /// The app host called `name`, without a port, if it can be one.
    #[must_use]
    pub(crate) fn app_host(&self, name: &str) -> Option<AppHost> {
        let at = name.len().checked_sub(self.apps_domain.len())?;
        let (label, domain) = (name.get(..at)?, name.get(at..)?);
        if !domain.eq_ignore_ascii_case(&self.apps_domain) {
            return None;
        }
        let label = label.strip_suffix('.')?.to_ascii_lowercase();
        if label == SHARED_LABEL {
            return Some(AppHost::Shared);
        }
        label.parse().ok().map(AppHost::Instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_give_no_address_are_refused() {
        let cases = [
            ("http://localhost:8080", "localhost:8080", true),
            ("https://store.example.com", "apps.example.com", true),
            ("https://store.example.com/", "apps.example.com", true),
            ("http://127.0.0.1:8080", "localhost:8080", true),
            ("ftp://store.example.com", "apps.example.com", false),
            ("store.example.com", "apps.example.com", false),
            ("https://store.example.com/here", "apps.example.com", false),
            (
                "https://store.example.com",
                "https://apps.example.com",
                false,
            ),
            ("https://store.example.com", "apps.example.com/x", false),
            ("https://store.example.com", "10.0.0.1", false),
            ("https://store.example.com", "", false),
            ("https://apps.example.com", "example.com", false),
        ];
        for (store, apps, valid) in cases {
            assert_eq!(Site::new(store, apps).is_ok(), valid, "{store} {apps}");
        }
    }

    #[test]
    fn a_host_is_called_by_its_name_and_no_other() {
        let site = Site::new("http://localhost:8080", "apps.test:8080").expect("a site");
        let hosts = [
            AppHost::Instance("sales".parse().expect("an id")),
            AppHost::Instance("les".parse().expect("an id")),
            AppHost::Shared,
            AppHost::Own {
                host: "sales.example.com".to_owned(),
                alias: "sales".parse().expect("an id"),
            },
        ];
        for host in &hosts {
            for other in &hosts {
                let is_called = site.is_called(host, &site.host_name(other));
                assert_eq!(is_called, host == other, "{host:?} {other:?}");
            }
        }
    }

    #[test]
    fn urls_carry_scheme_and_port() {
        let id: InstanceId = "sales".parse().expect("an id");
        let local = Site::new("http://localhost:8080", "localhost:8080").expect("a site");
        assert_eq!(
            local.instance_url(&id, Form::Domain),
            "http://sales.localhost:8080/"
        );
        assert_eq!(
            local.instance_url(&id, Form::BaseUrl),
            "http://apps.localhost:8080/instance/sales/"
        );
        assert_eq!(local.app_origins_pattern(), "http://*.localhost:8080");
        let public = Site::new("https://Store.Example.com:443", "Example.com:443").expect("a site");
        assert_eq!(public.store_origin(), "https://store.example.com");
        assert_eq!(
            public.instance_url(&id, Form::Domain),
            "https://sales.example.com/"
        );
    }
}
