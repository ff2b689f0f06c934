//! The settings of sign-in at an OIDC provider.

use std::path::{Path, PathBuf};

use catalog::{Person, Role, Subject};
use chrono::{DateTime, Utc};
use clap::Args;
use openidconnect::{ClientId, ClientSecret, IssuerUrl};
use serde_json::Value;
use url::{Host, Url};

/// Sign-in at an OIDC provider.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sign-in at an OIDC provider")]
#[expect(clippy::struct_field_names, reason = "a field's name is its flag's")]
pub struct OidcArgs {
    /// The provider's issuer, exactly as its discovery document has it. Without it there are local accounts only.
    #[arg(long, env = "WAVESTORE_OIDC_ISSUER", requires_all = ["oidc_client_id", "oidc_client_secret_file"])]
    pub oidc_issuer: Option<String>,
    /// Our name at the provider. Its redirect address for us is `<store-url>/sign-in/callback`.
    #[arg(long, env = "WAVESTORE_OIDC_CLIENT_ID")]
    pub oidc_client_id: Option<String>,
    /// File with our secret at the provider.
    #[arg(long, env = "WAVESTORE_OIDC_CLIENT_SECRET_FILE")]
    pub oidc_client_secret_file: Option<PathBuf>,
    /// What is asked of the provider, beside `openid`.
    #[arg(
        long,
        env = "WAVESTORE_OIDC_SCOPES",
        default_value = "profile",
        value_delimiter = ','
    )]
    pub oidc_scopes: Vec<String>,
    /// Claim with the name of a new account, in the ID token or the user info.
    #[arg(
        long,
        env = "WAVESTORE_OIDC_NAME_CLAIM",
        default_value = "preferred_username"
    )]
    pub oidc_name_claim: String,
    /// Path of the claim with somebody's roles, in the ID token, the user info or the access token.
    #[arg(
        long,
        env = "WAVESTORE_OIDC_ROLES_CLAIM",
        default_value = "realm_access.roles"
    )]
    pub oidc_roles_claim: String,
    /// Role of those who manage everything. Empty: nobody of the provider does.
    #[arg(long, env = "WAVESTORE_OIDC_ADMIN_ROLE", default_value = "")]
    pub oidc_admin_role: String,
    /// Role of those who publish apps; the others are visitors. Empty: everybody of the provider publishes.
    #[arg(long, env = "WAVESTORE_OIDC_FULL_ROLE", default_value = "")]
    pub oidc_full_role: String,
    /// Audience of the access tokens with which programs may come, as the provider writes it into them for this store. It
    /// must not be the client id, which is the audience of ID tokens. Empty: no tokens of the provider are taken.
    #[arg(long, env = "WAVESTORE_OIDC_AUDIENCE", default_value = "")]
    pub oidc_audience: String,
    /// What the sign-in page calls the provider.
    #[arg(
        long,
        env = "WAVESTORE_OIDC_LABEL",
        default_value = "your organization"
    )]
    pub oidc_label: String,
}

/// A setting that cannot be right.
#[derive(Debug, thiserror::Error)]
pub enum InvalidOidc {
    /// Without TLS anybody on the way could be the provider.
    #[error(
        "`--oidc-issuer` is `{0}`; it must be an `https://` address (`http://` for this machine alone)"
    )]
    Issuer(String),
    /// Whoever an ID token is shown to could come here with it.
    #[error(
        "`--oidc-audience` is the client id, `{0}`; access tokens need an audience of their own"
    )]
    Audience(String),
    /// The secret is not there.
    #[error("could not read the client secret's file `{}`", file.display())]
    SecretFile {
        /// The file.
        file: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The file has nothing in it.
    #[error("the client secret's file `{}` is empty", .0.display())]
    EmptySecret(PathBuf),
    /// No client can be made.
    #[error("could not prepare requests to the provider")]
    Http(#[source] reqwest::Error),
    /// No redirect address can be made.
    #[error("`--store-url` gives no redirect address")]
    Redirect(#[source] url::ParseError),
}

/// The settings, read and checked.
#[derive(Debug, Clone)]
pub(crate) struct OidcSettings {
    pub(super) issuer: IssuerUrl,
    pub(super) client_id: ClientId,
    pub(super) client_secret: ClientSecret,
    pub(super) scopes: Vec<String>,
    pub(super) people: People,
    /// Audience of access tokens; without it none is taken.
    pub(super) audience: Option<String>,
    /// What the sign-in page calls the provider.
    pub(crate) label: String,
}

impl OidcArgs {
    /// Reads the settings; none when there is no provider.
    ///
    /// # Errors
    /// Says which setting is wrong.
    pub(crate) fn read(self) -> Result<Option<OidcSettings>, InvalidOidc> {
        let Self {
            oidc_issuer,
            oidc_client_id,
            oidc_client_secret_file,
            oidc_scopes,
            oidc_name_claim,
            oidc_roles_claim,
            oidc_admin_role,
            oidc_full_role,
            oidc_audience,
            oidc_label,
        } = self;
        // The parser has seen to it that the others come with the first.
        let (Some(issuer), Some(client_id), Some(file)) =
            (oidc_issuer, oidc_client_id, oidc_client_secret_file)
        else {
            return Ok(None);
        };
        let url: Url = issuer
            .parse()
            .map_err(|_| InvalidOidc::Issuer(issuer.clone()))?;
        if !is_trustworthy(&url) {
            return Err(InvalidOidc::Issuer(issuer));
        }
        if oidc_audience == client_id {
            return Err(InvalidOidc::Audience(client_id));
        }
        let filled = |text: String| (!text.is_empty()).then_some(text);
        Ok(Some(OidcSettings {
            issuer: IssuerUrl::new(issuer.clone()).map_err(|_| InvalidOidc::Issuer(issuer))?,
            client_id: ClientId::new(client_id),
            client_secret: ClientSecret::new(read_secret(&file)?),
            scopes: oidc_scopes,
            people: People {
                name_claim: oidc_name_claim,
                roles_claim: oidc_roles_claim,
                admin_role: filled(oidc_admin_role),
                full_role: filled(oidc_full_role),
            },
            audience: filled(oidc_audience),
            label: oidc_label,
        }))
    }
}

/// Whether nobody on the way can read or change what is said to this address.
pub(super) fn is_trustworthy(url: &Url) -> bool {
    let local = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => return false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && local)
}

fn read_secret(file: &Path) -> Result<String, InvalidOidc> {
    let text = std::fs::read_to_string(file).map_err(|source| InvalidOidc::SecretFile {
        file: file.to_owned(),
        source,
    })?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(InvalidOidc::EmptySecret(file.to_owned()));
    }
    Ok(secret.to_owned())
}

/// How a provider's claims become an account.
#[derive(Debug, Clone)]
pub(super) struct People {
    pub(super) name_claim: String,
    pub(super) roles_claim: String,
    pub(super) admin_role: Option<String>,
    pub(super) full_role: Option<String>,
}

/// Roles that are kept of one person.
const MAX_ROLES: usize = 200;

impl People {
    /// Somebody's account by the first of these claims that say something, of which the provider said the first at
    /// `as_of`. None when no name among them can be that of an account.
    pub(super) fn person(
        &self,
        subject: Subject,
        as_of: DateTime<Utc>,
        sources: &[&Value],
    ) -> Option<Person> {
        let name = self.name(sources)?;
        let roles = self.roles(sources).unwrap_or_default();
        Some(Person {
            subject,
            name: name.to_owned(),
            role: self.role(&roles),
            roles,
            as_of,
        })
    }

    /// Whether one of these claims has a name that an account can have.
    pub(super) fn has_name(&self, sources: &[&Value]) -> bool {
        self.name(sources).is_some()
    }

    /// The name in the first of these claims that has one, if an account can have it.
    pub(super) fn name<'a>(&self, sources: &[&'a Value]) -> Option<&'a str> {
        sources
            .iter()
            .find_map(|claims| find(claims, &self.name_claim)?.as_str())
            .filter(|name| crate::sign_in::is_account_name(name))
    }

    /// The roles in the first of these claims that has any; none when nothing is said about roles.
    pub(super) fn roles(&self, sources: &[&Value]) -> Option<Vec<String>> {
        let found = sources
            .iter()
            .find_map(|claims| find(claims, &self.roles_claim))?;
        let texts = |value: &Value| value.as_str().map(str::to_owned);
        Some(match found {
            Value::Array(values) => values.iter().filter_map(texts).take(MAX_ROLES).collect(),
            other => texts(other).into_iter().collect(),
        })
    }

    /// What somebody with these roles may do.
    pub(super) fn role(&self, roles: &[String]) -> Role {
        let has = |wanted: &String| roles.contains(wanted);
        if self.admin_role.as_ref().is_some_and(has) {
            Role::Admin
        } else if self.full_role.as_ref().is_none_or(has) {
            Role::Full
        } else {
            Role::Visitor
        }
    }
}

/// The claim at a path such as `realm_access.roles`. A name with dots in it, as `https://example.com/roles`, counts as a
/// whole first.
fn find<'a>(claims: &'a Value, path: &str) -> Option<&'a Value> {
    if let Some(found) = claims.get(path) {
        return Some(found);
    }
    path.match_indices('.').find_map(|(at, _)| {
        let inner = claims.get(&path[..at])?;
        find(inner, &path[at + 1..])
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn people(admin: &str, full: &str) -> People {
        let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        People {
            name_claim: "preferred_username".to_owned(),
            roles_claim: "realm_access.roles".to_owned(),
            admin_role: filled(admin),
            full_role: filled(full),
        }
    }

    #[test]
    fn roles_decide_what_somebody_may_do() {
        let cases: [(&str, &str, &str, &[&str], Role); 8] = [
            ("no roles are set", "", "", &[], Role::Full),
            (
                "no full role: everyone is full",
                "boss",
                "",
                &[],
                Role::Full,
            ),
            ("the admin role", "boss", "", &["boss"], Role::Admin),
            (
                "without the full role",
                "boss",
                "maker",
                &["x"],
                Role::Visitor,
            ),
            ("the full role", "boss", "maker", &["maker"], Role::Full),
            ("both", "boss", "maker", &["maker", "boss"], Role::Admin),
            ("another case", "boss", "maker", &["Boss"], Role::Visitor),
            (
                "no admin role: an empty name is none",
                "",
                "maker",
                &[""],
                Role::Visitor,
            ),
        ];
        for (name, admin, full, roles, expected) in cases {
            let claims =
                json!({ "preferred_username": "alice", "realm_access": { "roles": roles } });
            let person = people(admin, full).person(subject(), Utc::now(), &[&claims]);
            assert_eq!(person.expect("a person").role, expected, "{name}");
        }
    }

    fn subject() -> Subject {
        Subject {
            issuer: "https://login.example.com".to_owned(),
            subject: "1".to_owned(),
        }
    }

    #[test]
    fn a_claim_is_found_by_its_path() {
        let claims = json!({
            "groups": "one", "realm_access": { "roles": ["a", 1, "b"] },
            "https://example.com/roles": ["c"], "a.b": { "c": ["d"] },
        });
        let cases: [(&str, Option<&[&str]>); 6] = [
            ("groups", Some(&["one"])),
            ("realm_access.roles", Some(&["a", "b"])),
            ("https://example.com/roles", Some(&["c"])),
            ("a.b.c", Some(&["d"])),
            ("realm_access.groups", None),
            ("roles", None),
        ];
        for (path, expected) in cases {
            let people = People {
                roles_claim: path.to_owned(),
                ..people("", "")
            };
            let found = people.roles(&[&claims]);
            let expected = expected.map(|roles| roles.iter().map(ToString::to_string).collect());
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn only_a_name_that_can_own_an_instance_is_taken() {
        let cases = [
            ("alice", true),
            ("alice.miller+x@example.com", true),
            ("", false),
            ("-alice", false),
            ("alice ", false),
            ("al ice", false),
            ("älice", false),
            ("a\u{200b}b", false),
            ("system:admin", false),
            (&"a".repeat(129), false),
        ];
        for (name, good) in cases {
            let claims = json!({ "preferred_username": name });
            let person = people("", "").person(subject(), Utc::now(), &[&claims]);
            assert_eq!(person.is_some(), good, "{name}");
        }
    }

    #[test]
    fn settings_that_give_no_security_are_refused() {
        let cases = [
            ("https://login.example.com/realms/x", true),
            ("http://127.0.0.1:3000", true),
            ("http://localhost:3000", true),
            ("http://login.example.com", false),
            ("http://localhost.example.com", false),
            ("login.example.com", false),
        ];
        let secret = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(secret.path(), "secret\n").expect("write");
        for (issuer, good) in cases {
            let settings = OidcArgs {
                oidc_issuer: Some(issuer.to_owned()),
                oidc_client_id: Some("store".to_owned()),
                oidc_client_secret_file: Some(secret.path().to_owned()),
                oidc_scopes: Vec::new(),
                oidc_name_claim: "sub".to_owned(),
                oidc_roles_claim: "roles".to_owned(),
                oidc_admin_role: String::new(),
                oidc_full_role: String::new(),
                oidc_audience: String::new(),
                oidc_label: String::new(),
            }
            .read();
            assert_eq!(settings.is_ok(), good, "{issuer}: {settings:?}");
        }
    }
}
