//! Which Secrets an app may read: those whose marks open them to it, and no others.

pub(crate) mod index;
mod readers;
mod refusal;

use std::collections::{BTreeMap, BTreeSet};

use bundle::{Manifest, Source};
use crds::{APP_SECRET_LABEL, Runtime, SecretFault, SecretReaders};
use k8s_openapi::api::core::v1::{Secret, SecretKeySelector};
use kube::api::Api;
use kube::runtime::watcher;

pub(crate) use readers::Readers;
pub(crate) use refusal::Refusal;

/// Most characters of a Secret's name and of a key.
const NAME: usize = 253;

/// How the names of Helm's own records begin.
const HELM: &str = "sh.helm.";

/// One place of an app that reads one key of one Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    /// The place in `app.toml`, such as `[[Env]] PASSWORD`.
    entry: String,
    secret: String,
    key: String,
    /// The app also starts without it.
    optional: bool,
}

/// The app that wants to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asking<'a> {
    /// Its name, which others may publish versions of, too.
    pub(crate) app: &'a str,
    /// Who owns this version.
    pub(crate) owner: &'a str,
}

/// How a Secret looks to apps.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// There is none.
    Absent,
    /// It is open to nobody.
    Closed(SecretFault),
    /// It is open to some, and has these keys.
    Open(SecretReaders, BTreeSet<String>),
}

/// Proof of which keys an app may read; what is not in it is left out of the app's pods.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Grant(BTreeSet<(String, String)>);

/// All places of an app that read a Secret.
pub(crate) fn references(manifest: &Manifest) -> Result<Vec<Reference>, Refusal> {
    let variables = manifest
        .env
        .iter()
        .map(|variable| (format!("[[Env]] {}", variable.name), &variable.source));
    let files = manifest
        .files
        .iter()
        .map(|file| (format!("[[File]] {}", file.path), &file.source));
    let mut found = Vec::new();
    for (entry, source) in variables.chain(files) {
        let Source::Secret(key) = source else {
            continue;
        };
        let reference = Reference {
            entry,
            secret: key.secret.clone(),
            key: key.key.clone(),
            optional: key.optional,
        };
        check_names(&reference)?;
        found.push(reference);
    }
    Ok(found)
}

/// All places of a resolved app that read a Secret. What is optional was there when it was resolved, and has to be
/// there still: a Secret of that name that comes later may be another's.
fn references_of(runtime: &Runtime) -> Vec<Reference> {
    let reference = |entry: String, selector: &SecretKeySelector| Reference {
        entry,
        secret: selector.name.clone(),
        key: selector.key.clone(),
        optional: false,
    };
    let variables = runtime.env.iter().filter_map(|variable| {
        let selector = variable.value_from.as_ref()?.secret_key_ref.as_ref()?;
        Some(reference(format!("[[Env]] {}", variable.name), selector))
    });
    let files = runtime.files.iter().filter_map(|file| {
        let selector = file.secret_key_ref.as_ref()?;
        Some(reference(format!("[[File]] {}", file.path), selector))
    });
    variables.chain(files).collect()
}

fn check_names(reference: &Reference) -> Result<(), Refusal> {
    let Reference {
        entry,
        secret,
        key,
        optional: _,
    } = reference;
    if !is_name(secret) {
        return Err(Refusal::BadSecretName {
            entry: entry.clone(),
            value: secret.clone(),
        });
    }
    if !is_key(key) {
        return Err(Refusal::BadSecretKey {
            entry: entry.clone(),
            value: key.clone(),
        });
    }
    if secret.starts_with(HELM) {
        return Err(Refusal::ReservedSecret {
            entry: entry.clone(),
            secret: secret.clone(),
        });
    }
    Ok(())
}

/// Whether Kubernetes takes this as the name of a Secret: a DNS subdomain.
fn is_name(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= NAME
        && text.split('.').all(|label| {
            let bytes = label.as_bytes();
            bytes.first().copied().is_some_and(alphanumeric)
                && bytes.last().copied().is_some_and(alphanumeric)
                && bytes
                    .iter()
                    .all(|byte| alphanumeric(*byte) || *byte == b'-')
        })
}

/// Whether Kubernetes takes this as a key of a Secret.
fn is_key(text: &str) -> bool {
    (1..=NAME).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && !text.starts_with("..")
        && text != "."
}

/// Decides what an app may read. An optional key that is not there is left out of the grant.
fn grant(
    references: &[Reference],
    seen: &BTreeMap<String, Seen>,
    asking: Asking<'_>,
) -> Result<Grant, Refusal> {
    let mut granted = BTreeSet::new();
    for reference in references {
        let Reference {
            entry,
            secret,
            key,
            optional,
        } = reference;
        let (entry, secret, key) = (entry.clone(), secret.clone(), key.clone());
        match seen.get(&secret).unwrap_or(&Seen::Absent) {
            Seen::Closed(SecretFault::Closed) => {
                return Err(Refusal::SecretNotOpen { entry, secret });
            }
            Seen::Closed(fault) => {
                let fault = fault.clone();
                return Err(Refusal::SecretMarksUnclear {
                    entry,
                    secret,
                    fault,
                });
            }
            Seen::Open(readers, _) if !admits(readers, asking) => {
                let app = asking.app.to_owned();
                return Err(match readers.app() {
                    Some(_) => Refusal::SecretOfAnotherApp { entry, secret, app },
                    None => Refusal::SecretOfAnotherOwner { entry, secret },
                });
            }
            Seen::Open(_, keys) if keys.contains(&key) => {
                granted.insert((secret, key));
            }
            Seen::Absent | Seen::Open(..) if *optional => {}
            Seen::Absent => {
                return Err(Refusal::SecretNotFound { entry, secret, key });
            }
            Seen::Open(..) => {
                return Err(Refusal::SecretKeyNotFound { entry, secret, key });
            }
        }
    }
    Ok(Grant(granted))
}

/// Whether an app is one of those that a Secret is for. A name is nobody's, so it never opens anything without the owner.
fn admits(readers: &SecretReaders, asking: Asking<'_>) -> bool {
    match readers {
        SecretReaders::AllUsers { .. } => true,
        SecretReaders::Private { owner } => owner == asking.owner,
        SecretReaders::App { owner, app } => owner == asking.owner && app == asking.app,
    }
}

impl Grant {
    #[cfg(test)]
    pub(crate) fn of(keys: &[(&str, &str)]) -> Self {
        let own = |(secret, key): &(&str, &str)| ((*secret).to_owned(), (*key).to_owned());
        Self(keys.iter().map(own).collect())
    }

    /// Whether the app may read this key.
    pub(crate) fn holds(&self, secret: &str, key: &str) -> bool {
        self.0.contains(&(secret.to_owned(), key.to_owned()))
    }
}

/// Why it is not known what an app may read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It may not.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The API server did not tell.
    #[error("could not read the Secret `{secret}`")]
    Read {
        /// The Secret.
        secret: String,
        /// The API server's words.
        source: kube::Error,
    },
}

impl Error {
    /// The one next step that helps, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(refusal) => Some(refusal.hint()),
            Self::Read { .. } => None,
        }
    }
}

/// Asks the API server for all that these places name, and decides.
pub(crate) async fn authorize(
    secrets: &Api<Secret>,
    references: &[Reference],
    asking: Asking<'_>,
) -> Result<Grant, Error> {
    let mut seen = BTreeMap::new();
    for Reference { secret, .. } in references {
        if !seen.contains_key(secret) {
            let found = look(secrets, secret).await.map_err(|source| Error::Read {
                secret: secret.clone(),
                source,
            })?;
            seen.insert(secret.clone(), found);
        }
    }
    Ok(grant(references, &seen, asking)?)
}

/// Decides again, right before pods get what an app was resolved to some time ago.
pub(crate) async fn authorize_again(
    secrets: &Api<Secret>,
    runtime: &Runtime,
    owner: &str,
) -> Result<(), Error> {
    let asking = Asking {
        app: &runtime.app.name,
        owner,
    };
    let granted = authorize(secrets, &references_of(runtime), asking).await;
    granted.map(drop)
}

async fn look(secrets: &Api<Secret>, name: &str) -> Result<Seen, kube::Error> {
    // The values of a closed one are not even fetched.
    let Some(secret) = secrets.get_metadata_opt(name).await? else {
        return Ok(Seen::Absent);
    };
    if let Err(fault) = SecretReaders::of(&secret.metadata) {
        return Ok(Seen::Closed(fault));
    }
    let Some(secret) = secrets.get_opt(name).await? else {
        return Ok(Seen::Absent);
    };
    Ok(match SecretReaders::of(&secret.metadata) {
        Err(fault) => Seen::Closed(fault),
        Ok(readers) => Seen::Open(
            readers,
            secret.data.unwrap_or_default().into_keys().collect(),
        ),
    })
}

/// What to watch: Secrets that carry the label. One that is closed leaves the watch as if it were deleted.
pub(crate) fn watch() -> watcher::Config {
    watcher::Config::default().labels(APP_SECRET_LABEL)
}

#[cfg(test)]
mod tests {
    use bundle::EnvRules;

    use super::*;
    use crate::error::message;

    /// The version of the app `hello` that alice owns.
    const HELLO: Asking<'_> = Asking {
        app: "hello",
        owner: "alice",
    };

    /// What becomes of an app with these tables, where `open` has the key `password` and `closed` no label.
    fn outcome(tables: &str) -> Result<Grant, Refusal> {
        let text = format!(
            "[App]\nName = \"hello\"\nVersion = \"1.0.0\"\n[Runtime]\nModule = \"app\"\n{tables}"
        );
        let (manifest, _) = Manifest::parse(&text, &EnvRules::default()).expect("a manifest");
        let seen = BTreeMap::from([
            (
                "open".to_owned(),
                with_password(SecretReaders::AllUsers { owner: None }),
            ),
            ("closed".to_owned(), Seen::Closed(SecretFault::Closed)),
            ("gone".to_owned(), Seen::Absent),
        ]);
        grant(&references(&manifest)?, &seen, HELLO)
    }

    fn with_password(readers: SecretReaders) -> Seen {
        Seen::Open(readers, BTreeSet::from(["password".to_owned()]))
    }

    /// What a Secret is to a version of alice's of the app `hello`, to one of bob's, to alice's app `other` and to bob's.
    #[test]
    fn the_truth_table_of_scopes() {
        let (alice, hello) = (|| "alice".to_owned(), || "hello".to_owned());
        let closed = |fault| Seen::Closed(fault);
        let cases = [
            (Seen::Absent, ["absent"; 4]),
            (closed(SecretFault::Closed), ["closed"; 4]),
            (
                closed(SecretFault::UnknownScope("all".to_owned())),
                ["unclear"; 4],
            ),
            (
                closed(SecretFault::Lacks(crds::SECRET_OWNER_ANNOTATION)),
                ["unclear"; 4],
            ),
            (
                with_password(SecretReaders::AllUsers { owner: None }),
                ["reads"; 4],
            ),
            (
                with_password(SecretReaders::AllUsers {
                    owner: Some(alice()),
                }),
                ["reads"; 4],
            ),
            (
                with_password(SecretReaders::Private { owner: alice() }),
                ["reads", "another owner", "reads", "another owner"],
            ),
            (
                with_password(SecretReaders::App {
                    owner: alice(),
                    app: hello(),
                }),
                ["reads", "another app", "another app", "another app"],
            ),
        ];
        let asking = [
            ("hello", "alice"),
            ("hello", "bob"),
            ("other", "alice"),
            ("other", "bob"),
        ];
        for (seen, expected) in cases {
            for optional in [false, true] {
                let reference = Reference {
                    entry: "[[Env]] PASSWORD".to_owned(),
                    secret: "database".to_owned(),
                    key: "password".to_owned(),
                    optional,
                };
                let all = BTreeMap::from([("database".to_owned(), seen.clone())]);
                let found = asking.map(|(app, owner)| {
                    let asking = Asking { app, owner };
                    match grant(std::slice::from_ref(&reference), &all, asking) {
                        Ok(granted) if granted.holds("database", "password") => "reads",
                        // What is optional and not there is not read.
                        Ok(_) => "absent",
                        Err(refusal) => match refusal.code() {
                            "SecretNotFound" => "absent",
                            "SecretNotOpen" => "closed",
                            "SecretMarksUnclear" => "unclear",
                            "SecretOfAnotherOwner" => "another owner",
                            "SecretOfAnotherApp" => "another app",
                            other => other,
                        },
                    }
                });
                assert_eq!(found, expected, "{seen:?}, optional: {optional}");
            }
        }
    }

    #[test]
    fn a_refusal_names_the_fix() {
        let (entry, secret) = (|| "[[Env]] PASSWORD".to_owned(), || "database".to_owned());
        let unclear = |fault| Refusal::SecretMarksUnclear {
            entry: entry(),
            secret: secret(),
            fault,
        };
        let refusals = [
            Refusal::SecretOfAnotherOwner {
                entry: entry(),
                secret: secret(),
            },
            Refusal::SecretOfAnotherApp {
                entry: entry(),
                secret: secret(),
                app: "hello".to_owned(),
            },
            unclear(SecretFault::UnknownScope("all".to_owned())),
            unclear(SecretFault::Lacks(crds::SECRET_APP_ANNOTATION)),
        ];
        let lines = refusals.map(|refusal| {
            let words = message(&refusal, Some(refusal.hint()));
            format!("{}: {words}", refusal.code())
        });
        insta::assert_snapshot!(lines.join("\n"));
    }

    fn env(secret: &str, key: &str, more: &str) -> String {
        format!(
            "[[Env]]\nName = \"PASSWORD\"\nSecret = \"{secret}\"\nSecretKey = \"{key}\"\n{more}\n"
        )
    }

    #[test]
    fn an_app_reads_what_is_open_and_nothing_else() {
        let long = "x".repeat(254);
        let cases = [
            ("no secret", String::new()),
            ("an open one", env("open", "password", "")),
            (
                "an open one, optional",
                env("open", "password", "Optional = true"),
            ),
            ("a closed one", env("closed", "password", "")),
            (
                "a closed one, optional",
                env("closed", "password", "Optional = true"),
            ),
            ("an absent one", env("gone", "password", "")),
            (
                "an absent one, optional",
                env("gone", "password", "Optional = true"),
            ),
            (
                "one that nobody has looked at",
                env("unknown", "password", ""),
            ),
            ("an absent key", env("open", "user", "")),
            (
                "an absent key, optional",
                env("open", "user", "Optional = true"),
            ),
            (
                "a closed one in a file, beside an open one",
                env("open", "password", "")
                    + "[[File]]\nPath = \"conf/key.pem\"\nSecret = \"closed\"\nSecretKey = \"key\"\n",
            ),
            (
                "a record of Helm",
                env("sh.helm.release.v1.x.v1", "release", ""),
            ),
            ("capital letters", env("Open", "password", "")),
            ("a path", env("../open", "password", "")),
            ("an underscore", env("my_secret", "password", "")),
            (
                "a name that is optional and wrong",
                env("-open", "password", "Optional = true"),
            ),
            ("a key with a blank", env("open", "pass word", "")),
            ("a key that is a path", env("open", "..", "")),
            ("a key with a slash", env("open", "a/b", "")),
        ];
        let lines: Vec<String> = cases
            .iter()
            .map(|(name, tables)| match outcome(tables) {
                Ok(Grant(keys)) => format!("{name}: reads {keys:?}"),
                Err(refusal) => {
                    let words = message(&refusal, Some(refusal.hint()));
                    format!("{name}: {}: {words}", refusal.code())
                }
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
        assert!(!is_name(&long) && !is_key(&long) && !is_name("") && !is_key(""));
        assert!(is_name("a.b-1") && !is_name("a..b") && is_key("ca.crt") && is_key("A_b-1"));
    }

    #[test]
    fn what_was_resolved_is_checked_again_optional_or_not() {
        let runtime: Runtime = serde_json::from_value(serde_json::json!({
            "app": {"name": "hello", "version": "1.0.0"},
            "digest": "", "image": "", "imagePullPolicy": "", "storeUrl": "", "mode": "Wave", "module": "app",
            "routingMode": "Domain", "resources": {},
            "env": [
                {"name": "PLAIN", "value": "x"},
                {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "gone", "key": "a", "optional": true}}},
            ],
            "files": [{"path": "/etc/app/key", "secretKeyRef": {"name": "open", "key": "b"}}],
        }))
        .expect("a runtime");
        let found = references_of(&runtime);
        let names: Vec<&str> = found.iter().map(|found| found.secret.as_str()).collect();
        assert_eq!(names, ["gone", "open"]);
        let refused = grant(&found, &BTreeMap::new(), HELLO).expect_err("refused");
        assert_eq!(refused.code(), "SecretNotFound");
    }
}
