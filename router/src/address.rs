//! Which of an instance's addresses a visit used, and whether it belongs to another one.

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Uri, header};

use crate::InstanceId;
use crate::error::Error;
use crate::site::{AppHost, Site};
use crate::table::Route;
use crate::target::Form;

/// The address by which an instance was visited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visit {
    /// Its own name, or an alias.
    pub name: InstanceId,
    /// The host.
    pub host: AppHost,
    /// The form.
    pub form: Form,
}

/// Where a visit leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leads {
    /// To the app.
    Here,
    /// To the app, which lives below a path of the alias's own host.
    Below,
    /// To the other form of the same name.
    ToForm(String),
    /// To the instance's primary name.
    ToPrimary(String),
}

/// Decides where a visit of `path`, query included, leads.
#[must_use]
pub(crate) fn leads(site: &Site, route: &Route, visit: &Visit, path: &str) -> Leads {
    let right = route.form.unwrap_or(visit.form);
    let is_own = matches!(visit.host, AppHost::Own { .. });
    if route.primary.is_none() && right == visit.form && !is_own {
        return Leads::Here;
    }
    // On an alias's own host an app that lives below a path does so, too.
    let below = Form::BaseUrl.base(&visit.name);
    let (is_below, rest) = match (visit.form, path.strip_prefix(below.as_ref())) {
        (Form::BaseUrl, rest) => (true, rest.unwrap_or_default()),
        (Form::Domain, Some(rest)) if is_own && right == Form::BaseUrl => (true, rest),
        (Form::Domain, _) => (false, path.strip_prefix('/').unwrap_or_default()),
    };
    if let Some(primary) = &route.primary {
        let host = match (&primary.host, right) {
            (Some(host), _) => AppHost::Own {
                host: host.clone(),
                alias: primary.name.clone(),
            },
            (None, Form::Domain) => AppHost::Instance(primary.name.clone()),
            (None, Form::BaseUrl) => AppHost::Shared,
        };
        if host != visit.host || primary.name != visit.name {
            let base = right.base(&primary.name);
            return Leads::ToPrimary(format!("{}{base}{rest}", site.app_origin(&host)));
        }
    }
    match (right, is_below) {
        (Form::BaseUrl, true) if is_own => Leads::Below,
        (Form::Domain, false) | (Form::BaseUrl, true) => Leads::Here,
        (Form::BaseUrl, false) if is_own => {
            Leads::ToForm(format!("{}{below}{rest}", site.app_origin(&visit.host)))
        }
        (Form::BaseUrl, false) | (Form::Domain, true) => {
            Leads::ToForm(format!("{}{rest}", site.instance_url(&visit.name, right)))
        }
    }
}

/// Whether a request is for a page, or by no browser at all, so that it can be sent elsewhere: not what a page itself asks
/// for, and nothing that changes something.
#[must_use]
pub(crate) fn is_page(method: &Method, headers: &HeaderMap) -> bool {
    let reads = *method == Method::GET || *method == Method::HEAD;
    let navigates = headers
        .get("sec-fetch-mode")
        .is_none_or(|mode| mode == "navigate");
    reads && navigates && !headers.contains_key(header::UPGRADE)
}

/// The same address below another base path: an app lives below its instance's own name, whatever alias was used.
///
/// # Errors
/// [`Error::BadRequest`] when that is no address.
pub(crate) fn renamed(uri: &Uri, from: &str, to: &str) -> Result<Uri, Error> {
    let invalid = || Error::BadRequest("the address cannot be rewritten");
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let rest = path.strip_prefix(from).ok_or_else(invalid)?;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(format!("{to}{rest}").parse().map_err(|_| invalid())?);
    Uri::from_parts(parts).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crds::Visibility;

    use super::*;
    use crate::table::Primary;

    fn id(text: &str) -> InstanceId {
        text.parse().expect("a name")
    }

    fn visit(name: &str, host: &str) -> Visit {
        let (host, form) = match host {
            "shared" => (AppHost::Shared, Form::BaseUrl),
            "domain" => (AppHost::Instance(id(name)), Form::Domain),
            own => (
                AppHost::Own {
                    host: own.to_owned(),
                    alias: id(name),
                },
                Form::Domain,
            ),
        };
        Visit {
            name: id(name),
            host,
            form,
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one row a case")]
    fn every_address_leads_somewhere() {
        let site = Site::new("https://store.test", "apps.test:8443").expect("a site");
        let here = || Leads::Here;
        let form = |url: &str| Leads::ToForm(url.to_owned());
        let primary = |url: &str| Leads::ToPrimary(url.to_owned());
        let plain = ("crm", None);
        let hosted = ("crm", Some("crm.test"));
        // Form and primary name of the instance `sales`, the visit, its path, and where that leads.
        let cases = [
            (Form::Domain, None, visit("sales", "domain"), "/a?b", here()),
            (Form::Domain, None, visit("crm", "domain"), "/a?b", here()),
            (Form::Domain, None, visit("crm", "crm.test"), "/a?b", here()),
            (
                Form::Domain,
                None,
                visit("crm", "shared"),
                "/instance/crm/a?b",
                form("https://crm.apps.test:8443/a?b"),
            ),
            (
                Form::Domain,
                Some(plain),
                visit("sales", "domain"),
                "/a?b",
                primary("https://crm.apps.test:8443/a?b"),
            ),
            (
                Form::Domain,
                Some(plain),
                visit("sales", "shared"),
                "/instance/sales/a?b",
                primary("https://crm.apps.test:8443/a?b"),
            ),
            (
                Form::Domain,
                Some(plain),
                visit("crm", "domain"),
                "/a",
                here(),
            ),
            (
                Form::Domain,
                Some(hosted),
                visit("crm", "domain"),
                "//evil.test",
                primary("https://crm.test:8443//evil.test"),
            ),
            (
                Form::Domain,
                Some(hosted),
                visit("crm", "crm.test"),
                "/a",
                here(),
            ),
            (
                Form::Domain,
                Some(plain),
                visit("old", "old.test"),
                "/a",
                primary("https://crm.apps.test:8443/a"),
            ),
            (
                Form::BaseUrl,
                None,
                visit("sales", "shared"),
                "/instance/sales/a",
                here(),
            ),
            (
                Form::BaseUrl,
                None,
                visit("crm", "shared"),
                "/instance/crm/a",
                here(),
            ),
            (
                Form::BaseUrl,
                None,
                visit("crm", "domain"),
                "/a",
                form("https://apps.apps.test:8443/instance/crm/a"),
            ),
            (
                Form::BaseUrl,
                Some(plain),
                visit("sales", "shared"),
                "/instance/sales/a?b",
                primary("https://apps.apps.test:8443/instance/crm/a?b"),
            ),
            (
                Form::BaseUrl,
                Some(plain),
                visit("crm", "shared"),
                "/instance/crm/a",
                here(),
            ),
            (
                Form::BaseUrl,
                Some(hosted),
                visit("sales", "shared"),
                "/instance/sales/a",
                primary("https://crm.test:8443/instance/crm/a"),
            ),
            (
                Form::BaseUrl,
                Some(hosted),
                visit("crm", "crm.test"),
                "/a",
                form("https://crm.test:8443/instance/crm/a"),
            ),
            (
                Form::BaseUrl,
                Some(hosted),
                visit("crm", "crm.test"),
                "/instance/crm/a",
                Leads::Below,
            ),
        ];
        for (right, main, visit, path, expected) in cases {
            let mut route = Route::example("sales", "alice", Visibility::Private);
            route.form = Some(right);
            route.primary = main.map(|(name, host)| {
                Arc::new(Primary {
                    name: id(name),
                    host: host.map(str::to_owned),
                })
            });
            let found = leads(&site, &route, &visit, path);
            assert_eq!(found, expected, "{right:?} {main:?} {visit:?} {path}");
        }
    }

    #[test]
    fn only_visits_are_sent_elsewhere() {
        type Lines = &'static [(&'static str, &'static str)];
        let cases: [(&str, Method, Lines, bool); 6] = [
            ("no browser", Method::GET, &[], true),
            (
                "a page",
                Method::GET,
                &[("sec-fetch-mode", "navigate")],
                true,
            ),
            ("its head", Method::HEAD, &[], true),
            (
                "a picture",
                Method::GET,
                &[("sec-fetch-mode", "no-cors")],
                false,
            ),
            ("a socket", Method::GET, &[("upgrade", "websocket")], false),
            (
                "a form",
                Method::POST,
                &[("sec-fetch-mode", "navigate")],
                false,
            ),
        ];
        for (name, method, lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.insert(*name, value.parse().expect("a value"));
            }
            assert_eq!(is_page(&method, &headers), expected, "{name}");
        }
    }
}
