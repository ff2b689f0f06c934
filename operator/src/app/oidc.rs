//! What apps with `EnableOIDC` get: the variables by which waved itself signs people in.

use crds::RoutingMode;
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, SecretKeySelector};
use url::Url;

/// Variable of every pod with its instance's name; Kubernetes puts it in place of `$(WAVESTORE_INSTANCE)`, so that one app's
/// settings fit all of its instances.
const INSTANCE: &str = "$(WAVESTORE_INSTANCE)";

/// How apps sign people in at an OIDC provider, as the store's settings have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppOidc {
    /// The apps' name at the provider.
    pub(crate) client_id: String,
    /// The Secret and the key in it with the client's secret. It must be open to apps.
    pub(crate) client_secret: (String, String),
    /// The provider's issuer.
    pub(crate) provider_url: String,
    /// Where the provider ends its sessions.
    pub(crate) end_session_url: Option<String>,
    /// What is asked of the provider.
    pub(crate) scopes: Vec<String>,
    /// Where people reach the store's pages, for the scheme.
    pub(crate) store_url: Url,
    /// Domain below which instances have their hosts, with a port if it needs one.
    pub(crate) apps_domain: String,
}

impl AppOidc {
    /// The variables of an app that is reached in this way.
    pub(crate) fn variables(&self, routing: RoutingMode) -> Vec<EnvVar> {
        let (scheme, domain) = (self.store_url.scheme(), &self.apps_domain);
        let address = match routing {
            RoutingMode::Domain => format!("{scheme}://{INSTANCE}.{domain}/"),
            RoutingMode::BaseUrl => {
                let (host, path) = (crds::RESERVED_INSTANCE_NAME, crds::INSTANCE_PATH);
                format!("{scheme}://{host}.{domain}{path}{INSTANCE}/")
            }
        };
        let (secret, key) = &self.client_secret;
        let mut all = vec![
            plain("CLIENT_ID", &escaped(&self.client_id)),
            EnvVar {
                name: name("CLIENT_SECRET"),
                value: None,
                value_from: Some(EnvVarSource {
                    secret_key_ref: Some(SecretKeySelector {
                        name: secret.clone(),
                        key: key.clone(),
                        optional: None,
                    }),
                    ..EnvVarSource::default()
                }),
            },
            plain("PROVIDER_URL", &escaped(&self.provider_url)),
            plain("REDIRECT_URL", &format!("{address}_auth/callback")),
            plain("POST_LOGOUT_REDIRECT_URL", &address),
            plain("SCOPES", &escaped(&self.scopes.join(","))),
        ];
        if let Some(url) = &self.end_session_url {
            all.push(plain("END_SESSION_URL", &escaped(url)));
        }
        all
    }
}

fn name(setting: &str) -> String {
    format!("H2O_WAVE_OIDC_{setting}")
}

fn plain(setting: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name(setting),
        value: Some(value.to_owned()),
        value_from: None,
    }
}

/// Kubernetes would put another variable in place of `$(NAME)`.
fn escaped(value: &str) -> String {
    value.replace("$(", "$$(")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oidc(store_url: &str, apps_domain: &str) -> AppOidc {
        AppOidc {
            client_id: "apps".to_owned(),
            client_secret: ("apps-oidc".to_owned(), "client-secret".to_owned()),
            provider_url: "https://login.example.com/realms/x".to_owned(),
            end_session_url: None,
            scopes: vec!["openid".to_owned(), "profile".to_owned()],
            store_url: store_url.parse().expect("a url"),
            apps_domain: apps_domain.to_owned(),
        }
    }

    #[test]
    fn an_instance_comes_back_to_its_own_address() {
        let https = oidc("https://store.example.com", "apps.example.com");
        let local = oidc("http://localhost:8080", "localhost:8080");
        let cases = [
            (
                &https,
                RoutingMode::Domain,
                "https://$(WAVESTORE_INSTANCE).apps.example.com/",
            ),
            (
                &https,
                RoutingMode::BaseUrl,
                "https://apps.apps.example.com/instance/$(WAVESTORE_INSTANCE)/",
            ),
            (
                &local,
                RoutingMode::Domain,
                "http://$(WAVESTORE_INSTANCE).localhost:8080/",
            ),
        ];
        for (oidc, routing, address) in cases {
            let variables = oidc.variables(routing);
            let value = |setting: &str| {
                let found = variables
                    .iter()
                    .find(|variable| variable.name == name(setting));
                found.and_then(|variable| variable.value.clone())
            };
            assert_eq!(
                value("REDIRECT_URL"),
                Some(format!("{address}_auth/callback"))
            );
            assert_eq!(value("POST_LOGOUT_REDIRECT_URL"), Some(address.to_owned()));
            assert_eq!(value("SCOPES").as_deref(), Some("openid,profile"));
            assert_eq!(value("END_SESSION_URL"), None);
        }
    }

    #[test]
    fn the_secret_is_named_and_never_told() {
        let variables = oidc("https://store.example.com", "apps.example.com");
        let variables = variables.variables(RoutingMode::Domain);
        let secret = variables
            .iter()
            .find(|variable| variable.name == "H2O_WAVE_OIDC_CLIENT_SECRET")
            .expect("a secret");
        assert_eq!(secret.value, None);
        let reference = secret
            .value_from
            .as_ref()
            .and_then(|source| source.secret_key_ref.as_ref())
            .expect("a reference");
        assert_eq!(
            (reference.name.as_str(), reference.key.as_str()),
            ("apps-oidc", "client-secret")
        );
    }
}
