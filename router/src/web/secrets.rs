//! What people do with the secrets of apps, by the page and by the API alike. Values go in and never come out.
//!
//! What is there is what the operator tells, so a change is written onto the very state that was decided on: when the Kubernetes API
//! has another one, what is told of that is waited for, and it is decided anew.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use catalog::Thing;
use crds::{AppRef, SecretEntry, SecretReaders, SecretScope};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::timeout;

use super::if_match::IfMatch;
use super::{PATIENCE, Store, TRIES, Visitor, apps, tags};
use crate::error::Error;
use crate::policy::{Action, App, Secret};
use crate::secrets::Values;
use crate::table::{Snapshot, Table};

/// What names of secrets are (RFC 1123), and how long.
pub(super) const NAME_PATTERN: &str =
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
pub(super) const LONGEST_NAME: usize = 253;

/// Most keys of a secret in one form, and most bytes of a key's name: what is told of all secrets has to fit into a `ConfigMap`.
const MAX_KEYS: usize = 32;
pub(super) const LONGEST_KEY: usize = 128;

/// Most secrets of one owner.
const MAX_SECRETS: usize = 50;

/// How long a change may take until the operator has told of it. It is done all the same.
const TOLD: Duration = Duration::from_secs(2);

/// A value, which is not printed.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub(super) struct Sensitive(String);

impl From<String> for Sensitive {
    fn from(value: String) -> Self {
        Self(value)
    }
}

/// What a secret is to be: all of it. What is not named is not kept.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "WantedSecret")]
pub(super) struct Wanted {
    /// Which apps read it.
    #[serde(default)]
    pub scope: SecretScope,
    /// The app that reads it, if its scope is `App`.
    #[serde(default)]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$")
    )]
    pub app: Option<String>,
    /// Whose it is: of a new one oneself, otherwise whose it was. Others are named by admins alone.
    #[serde(default)]
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = "^[A-Za-z0-9]([-A-Za-z0-9_.@+]*[A-Za-z0-9])?$")
    )]
    pub owner: Option<String>,
    /// Its values by key, as text.
    #[serde(default)]
    #[schemars(extend("writeOnly" = true, "maxProperties" = 32, "propertyNames" = {
        "maxLength": 128, "pattern": r"^\.?[-_A-Za-z0-9][-._A-Za-z0-9]*$"
    }))]
    pub string_data: BTreeMap<String, Sensitive>,
    /// Its values by key, in base64. One that is text, too, is taken as that.
    #[serde(default)]
    #[schemars(extend("writeOnly" = true, "maxProperties" = 32, "propertyNames" = {
        "maxLength": 128, "pattern": r"^\.?[-_A-Za-z0-9][-._A-Za-z0-9]*$"
    }, "additionalProperties" = {
        "type": "string",
        "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$"
    }))]
    pub data: BTreeMap<String, Sensitive>,
}

impl Wanted {
    /// # Errors
    /// [`Error::BadSecret`] for what no secret can have. It repeats no value.
    fn values(&self) -> Result<Values, Error> {
        let Self {
            string_data, data, ..
        } = self;
        if string_data.len() > MAX_KEYS || data.len() > MAX_KEYS {
            return Err(Error::BadSecret("it has at most 32 keys"));
        }
        if !string_data.keys().chain(data.keys()).all(|key| is_key(key)) {
            return Err(Error::BadSecret(
                "a key has letters (A-Z), digits and -_. between them, at most 128",
            ));
        }
        let mut values = Values::default();
        for (key, Sensitive(value)) in data {
            let value = STANDARD.decode(value);
            let value = value.map_err(|_| Error::BadSecret("what `data` has is no base64"))?;
            values.set(key.clone(), value);
        }
        for (key, Sensitive(value)) in string_data {
            values.set(key.clone(), value.clone().into_bytes());
        }
        Ok(values)
    }

    /// Which apps are to read it, where it is `owner`'s.
    fn readers(&self, owner: String) -> Result<SecretReaders, Error> {
        Ok(match (self.scope, &self.app) {
            (SecretScope::Private, None) => SecretReaders::Private { owner },
            (SecretScope::AllUsers, None) => SecretReaders::AllUsers { owner: Some(owner) },
            (SecretScope::App, Some(app)) if tags::is_name(app) => SecretReaders::App {
                owner,
                app: app.clone(),
            },
            (SecretScope::App, Some(_)) => {
                return Err(Error::BadSecret(
                    "its app is named as in app.toml: letters (A-Z), digits and -_. between them, at most 63",
                ));
            }
            (SecretScope::App, None) | (SecretScope::Private | SecretScope::AllUsers, Some(_)) => {
                return Err(Error::SecretScopeUnclear);
            }
        })
    }
}

fn is_key(key: &str) -> bool {
    let rest = key.strip_prefix('.').unwrap_or(key);
    (1..=LONGEST_KEY).contains(&key.len())
        && !rest.is_empty()
        && !rest.starts_with('.')
        && rest
            .bytes()
            .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_' | b'.'))
}

/// A secret that the visitor sees.
pub(super) struct Found {
    pub name: String,
    pub entry: SecretEntry,
    /// The apps that read it, as far as the visitor sees them.
    pub used_by: Vec<AppRef>,
    /// Whether the visitor may replace and delete it.
    pub is_managed: bool,
}

/// The secrets that the visitor sees, by name.
pub(super) fn all(store: &Store, visitor: &Visitor) -> Vec<Found> {
    let snapshot = store.table.load();
    let entries = snapshot.secrets.iter();
    entries
        .filter(|(_, entry)| may_see(&snapshot, visitor, Some(entry)).is_ok())
        .map(|(name, entry)| found(&snapshot, visitor, name, entry.clone()))
        .collect()
}

/// The secret of this name, for those who see it.
pub(super) fn find(store: &Store, visitor: &Visitor, name: &str) -> Result<Found, Error> {
    let snapshot = store.table.load();
    let entry = snapshot.secrets.get(name);
    may_see(&snapshot, visitor, entry)?;
    let entry = entry.cloned().ok_or(Error::NotFound)?;
    Ok(found(&snapshot, visitor, name, entry))
}

fn found(snapshot: &Snapshot, visitor: &Visitor, name: &str, entry: SecretEntry) -> Found {
    let sees = |app: &App<'_>| visitor.may(Action::SeeApp(Some(*app))).is_ok();
    let mut used_by: Vec<AppRef> = users(snapshot, name)
        .filter(|(_, app)| sees(app))
        .map(|(app, _)| app.clone())
        .collect();
    used_by.sort();
    Found {
        name: name.to_owned(),
        used_by,
        is_managed: entry.is_of_store && may_manage(snapshot, visitor, &entry.readers).is_ok(),
        entry,
    }
}

/// The apps that read a secret.
fn users<'a>(snapshot: &'a Snapshot, name: &'a str) -> impl Iterator<Item = (&'a AppRef, App<'a>)> {
    let reads = move |secrets: &[String]| secrets.iter().any(|secret| secret == name);
    let apps = snapshot.apps.iter();
    apps.filter(move |(_, app)| reads(&app.secrets))
        .map(|(reference, app)| (reference, (&**app).into()))
}

/// The versions of the one app that these readers name.
fn versions<'a>(snapshot: &'a Snapshot, readers: &SecretReaders) -> Vec<App<'a>> {
    let SecretReaders::App { owner, app } = readers else {
        return Vec::new();
    };
    let all = snapshot.apps.iter();
    all.filter(|(reference, entry)| reference.name == *app && entry.owner == *owner)
        .map(|(_, entry)| (&**entry).into())
        .collect()
}

/// Which apps read it, for people.
pub(super) fn for_whom(readers: &SecretReaders) -> String {
    match readers {
        SecretReaders::AllUsers { .. } => "all apps".to_owned(),
        SecretReaders::Private { owner } => format!("all apps of {owner}"),
        SecretReaders::App { owner, app } => format!("{app} of {owner}"),
    }
}

fn may_see(
    snapshot: &Snapshot,
    visitor: &Visitor,
    entry: Option<&SecretEntry>,
) -> Result<(), Error> {
    let versions = entry.map(|entry| versions(snapshot, &entry.readers));
    let secret = entry.map(|entry| Secret {
        readers: &entry.readers,
        versions: versions.as_deref().unwrap_or_default(),
    });
    visitor.may(Action::SeeSecret(secret))
}

fn may_manage(
    snapshot: &Snapshot,
    visitor: &Visitor,
    readers: &SecretReaders,
) -> Result<(), Error> {
    let versions = versions(snapshot, readers);
    let versions = &versions;
    visitor.may(Action::ManageSecret(Secret { readers, versions }))
}

/// Makes a secret, or replaces all of it; says whether it is new.
pub(super) async fn set(
    store: &Store,
    visitor: &Visitor,
    name: &str,
    wanted: &Wanted,
    if_match: &IfMatch,
) -> Result<(Found, bool), Error> {
    if !apps::is_object_name(name) {
        return Err(Error::BadSecret(
            "its name has a-z, 0-9 and -. between them, at most 253",
        ));
    }
    let values = wanted.values()?;
    for _ in 0..TRIES {
        let snapshot = store.table.load();
        let before = snapshot.secrets.get(name);
        let readers = decide(store, &snapshot, visitor, (name, before), wanted, if_match).await?;
        let set = store.secrets.set(name, &readers, values.clone(), before);
        match set.await {
            Ok(entry) => {
                let whom = for_whom(&readers);
                let done = format!("set the secret {name} for {whom}, with the keys {values:?}");
                visitor.did(store, (Thing::Secret, name), &done).await?;
                told(&store.table, name, before).await;
                let now = found(&snapshot, visitor, name, entry);
                return Ok((now, before.is_none()));
            }
            Err(Error::Overtaken) => {}
            Err(error) => return Err(error),
        }
        if !told(&store.table, name, before).await {
            return Err(match before {
                Some(_) => Error::Overtaken,
                None => Error::SecretNameTaken(name.to_owned()),
            });
        }
    }
    Err(Error::Overtaken)
}

/// Which apps are to read the secret, if the visitor may have it so.
async fn decide(
    store: &Store,
    snapshot: &Snapshot,
    visitor: &Visitor,
    (name, before): (&str, Option<&SecretEntry>),
    wanted: &Wanted,
    if_match: &IfMatch,
) -> Result<SecretReaders, Error> {
    let me = &visitor.signed_in()?.viewer.name;
    let kept = before.and_then(|before| before.readers.owner());
    match before {
        None => if_match.check_absent()?,
        Some(before) => {
            may_see(snapshot, visitor, Some(before))
                .map_err(|_| Error::SecretNameTaken(name.to_owned()))?;
            may_manage(snapshot, visitor, &before.readers)?;
            if_match.check_state(&before.resource_version)?;
            require_of_store(name, before)?;
        }
    }
    let owner = wanted.owner.as_deref().or(kept).unwrap_or(me);
    let readers = wanted.readers(owner.to_owned())?;
    let managed = may_manage(snapshot, visitor, &readers);
    managed.map_err(|_| Error::Forbidden)?;
    if kept != Some(owner) {
        if *owner != **me {
            let account = timeout(PATIENCE, store.catalog.account(owner)).await??;
            account.ok_or_else(|| Error::NoOwner(owner.to_owned()))?;
        }
        let entries = snapshot.secrets.values();
        let count = entries.filter(|entry| entry.readers.owner() == Some(owner));
        if count.count() >= MAX_SECRETS {
            return Err(Error::TooManySecrets { limit: MAX_SECRETS });
        }
    }
    Ok(readers)
}

/// Deletes a secret that no app reads.
pub(super) async fn delete(
    store: &Store,
    visitor: &Visitor,
    name: &str,
    if_match: &IfMatch,
) -> Result<(), Error> {
    for _ in 0..TRIES {
        let snapshot = store.table.load();
        let seen = snapshot.secrets.get(name);
        may_see(&snapshot, visitor, seen)?;
        let seen = seen.ok_or(Error::NotFound)?;
        may_manage(&snapshot, visitor, &seen.readers)?;
        if_match.check_state(&seen.resource_version)?;
        require_of_store(name, seen)?;
        require_unused(&snapshot, name)?;
        match store.secrets.delete(name, seen).await {
            Ok(()) => {
                let done = format!("deleted the secret {name}");
                visitor.did(store, (Thing::Secret, name), &done).await?;
                told(&store.table, name, Some(seen)).await;
                return Ok(());
            }
            Err(Error::Overtaken) => {}
            Err(error) => return Err(error),
        }
        if !told(&store.table, name, Some(seen)).await {
            return Err(Error::Overtaken);
        }
    }
    Err(Error::Overtaken)
}

/// Policies let routers change nothing that others have put their marks on.
fn require_of_store(name: &str, entry: &SecretEntry) -> Result<(), Error> {
    if entry.is_of_store {
        Ok(())
    } else {
        Err(Error::ForeignSecret(name.to_owned()))
    }
}

/// Refuses a secret that apps read. Whoever manages it may know of all of them: they are its owner's, or all of the store's.
fn require_unused(snapshot: &Snapshot, name: &str) -> Result<(), Error> {
    let mut apps: Vec<String> = users(snapshot, name)
        .map(|(app, _)| app.to_string())
        .collect();
    if apps.is_empty() {
        return Ok(());
    }
    apps.sort_unstable();
    Err(Error::SecretInUse(apps.join(", ")))
}

/// Waits until something else is told of a secret than `seen`; says whether it was.
async fn told(table: &Table, name: &str, seen: Option<&SecretEntry>) -> bool {
    let mut revisions = table.changes();
    let news = async {
        while table.load().secrets.get(name) == seen {
            if revisions.changed().await.is_err() {
                return;
            }
        }
    };
    timeout(TOLD, news).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(document: serde_json::Value) -> Wanted {
        serde_json::from_value(document).expect("a document")
    }

    #[test]
    fn a_secret_has_what_kubernetes_takes() {
        let long = "k".repeat(LONGEST_KEY + 1);
        for (key, expected) in [
            ("password", true),
            ("ca.crt", true),
            (".env", true),
            ("A_b-1", true),
            ("", false),
            (".", false),
            ("..", false),
            ("..a", false),
            ("a b", false),
            ("a/b", false),
            ("ä", false),
            (&long, false),
        ] {
            assert_eq!(is_key(key), expected, "{key}");
            let text = serde_json::json!({ "stringData": { key: "x" } });
            assert_eq!(wanted(text).values().is_ok(), expected, "{key}");
        }
        let many: BTreeMap<String, &str> = (0..=MAX_KEYS).map(|i| (i.to_string(), "")).collect();
        let many = wanted(serde_json::json!({ "stringData": many })).values();
        assert!(many.is_err());
        let bad = wanted(serde_json::json!({ "data": { "a": "hunter2!" } })).values();
        let words = bad.expect_err("no base64").to_string();
        assert!(!words.contains("hunter2"), "{words}");
        let both =
            serde_json::json!({ "data": { "a": "AA==", "b": "AQID" }, "stringData": { "a": "x" } });
        let mut expected = Values::default();
        expected.set("a".to_owned(), b"x".to_vec());
        expected.set("b".to_owned(), vec![1, 2, 3]);
        assert_eq!(wanted(both).values().ok(), Some(expected));
    }

    #[test]
    fn an_app_is_named_where_the_scope_is_one() {
        let cases = [
            (serde_json::json!({}), Ok("Private")),
            (serde_json::json!({ "scope": "AllUsers" }), Ok("AllUsers")),
            (
                serde_json::json!({ "scope": "App", "app": "a.b" }),
                Ok("App"),
            ),
            (
                serde_json::json!({ "scope": "App" }),
                Err("SecretScopeUnclear"),
            ),
            (serde_json::json!({ "app": "a" }), Err("SecretScopeUnclear")),
            (
                serde_json::json!({ "scope": "AllUsers", "app": "a" }),
                Err("SecretScopeUnclear"),
            ),
            (
                serde_json::json!({ "scope": "App", "app": "" }),
                Err("BadSecret"),
            ),
            (
                serde_json::json!({ "scope": "App", "app": "a b" }),
                Err("BadSecret"),
            ),
        ];
        for (document, expected) in cases {
            let readers = wanted(document.clone()).readers("alice".to_owned());
            let found = readers.map(|readers| readers.scope().to_string());
            let found = found.as_deref().map_err(Error::code);
            assert_eq!(found, expected, "{document}");
        }
    }
}
