//! Secrets that apps may read: which apps, by marks that everybody sees, and what the store tells of each. No value is among it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Label by which a Secret is open to apps; its value says to which. What does not carry it, the store's own Secrets among them,
/// is closed.
pub const APP_SECRET_LABEL: &str = "wavestore.io/app-secret";

/// Annotation of such a Secret: the user whose it is.
pub const SECRET_OWNER_ANNOTATION: &str = "wavestore.io/owner";

/// Annotation of such a Secret: the one app that it is for.
pub const SECRET_APP_ANNOTATION: &str = "wavestore.io/app";

/// Name of the `ConfigMap` in which the operator tells routers of such Secrets: a [`SecretEntry`] for each, by its name.
pub const SECRET_INDEX: &str = "wavestore-app-secrets";

/// The type of Secrets that mean nothing to Kubernetes itself.
const OPAQUE: &str = "Opaque";

/// Which apps read a Secret.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
pub enum SecretScope {
    /// All apps of its owner.
    #[default]
    Private,
    /// The versions of one app that its owner owns.
    App,
    /// All apps of the store.
    AllUsers,
}

impl SecretScope {
    /// The value of [`APP_SECRET_LABEL`].
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::App => "app",
            Self::AllUsers => "true",
        }
    }

    fn of_label(value: &str) -> Option<Self> {
        let mut all = <Self as strum::VariantArray>::VARIANTS.iter().copied();
        all.find(|scope| scope.label() == value)
    }
}

/// Which apps read a Secret, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "scope")]
pub enum SecretReaders {
    /// All apps of its owner.
    Private {
        /// Its owner.
        owner: String,
    },
    /// The versions of one app that its owner owns. A name is nobody's: anybody may publish another version of it, so a name
    /// alone opens nothing.
    App {
        /// Its owner.
        owner: String,
        /// Name of the app.
        app: String,
    },
    /// All apps of the store.
    AllUsers {
        /// Who has set it, if the store has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
    },
}

/// Why a Secret is open to nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretFault {
    /// It does not carry [`APP_SECRET_LABEL`].
    Closed,
    /// The label has a value that means nothing.
    UnknownScope(String),
    /// The annotation of this name is missing.
    Lacks(&'static str),
}

impl SecretReaders {
    /// Reads the marks of a Secret.
    ///
    /// # Errors
    /// They open it to nobody.
    pub fn of(metadata: &ObjectMeta) -> Result<Self, SecretFault> {
        let label = metadata.labels.as_ref();
        let label = label.and_then(|labels| labels.get(APP_SECRET_LABEL));
        let label = label.ok_or(SecretFault::Closed)?;
        let scope = SecretScope::of_label(label);
        let scope = scope.ok_or_else(|| SecretFault::UnknownScope(label.clone()))?;
        let annotation = |name| {
            let all = metadata.annotations.as_ref();
            let value = all.and_then(|all| all.get(name)).cloned();
            value
                .filter(|value| !value.is_empty())
                .ok_or(SecretFault::Lacks(name))
        };
        let owner = annotation(SECRET_OWNER_ANNOTATION);
        Ok(match scope {
            SecretScope::AllUsers => Self::AllUsers { owner: owner.ok() },
            SecretScope::Private => Self::Private { owner: owner? },
            SecretScope::App => Self::App {
                owner: owner?,
                app: annotation(SECRET_APP_ANNOTATION)?,
            },
        })
    }

    /// Its scope.
    #[must_use]
    pub fn scope(&self) -> SecretScope {
        match self {
            Self::Private { .. } => SecretScope::Private,
            Self::App { .. } => SecretScope::App,
            Self::AllUsers { .. } => SecretScope::AllUsers,
        }
    }

    /// Whose it is, as far as that is known.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        match self {
            Self::Private { owner } | Self::App { owner, .. } => Some(owner),
            Self::AllUsers { owner } => owner.as_deref(),
        }
    }

    /// The one app that it is for.
    #[must_use]
    pub fn app(&self) -> Option<&str> {
        match self {
            Self::App { app, .. } => Some(app),
            Self::Private { .. } | Self::AllUsers { .. } => None,
        }
    }

    /// The labels that say this.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        let label = self.scope().label().to_owned();
        [(APP_SECRET_LABEL.to_owned(), label)].into()
    }

    /// The annotations that say this.
    #[must_use]
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let owner = self.owner().map(|owner| (SECRET_OWNER_ANNOTATION, owner));
        let app = self.app().map(|app| (SECRET_APP_ANNOTATION, app));
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        owner.into_iter().chain(app).map(own).collect()
    }
}

/// What is told of a Secret that apps may read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretEntry {
    /// Which apps read it, and whose it is.
    #[serde(flatten)]
    pub readers: SecretReaders,
    /// Names of its keys.
    pub keys: Vec<String>,
    /// Whether it is as the store makes them, and carries nothing that others have put on it. Policies let routers change no other.
    pub is_of_store: bool,
    /// UID of the Secret.
    pub uid: String,
    /// Its state.
    pub resource_version: String,
    /// When it was set last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_at: Option<Time>,
}

impl SecretEntry {
    /// What is told of this one; nothing when it is open to nobody.
    #[must_use]
    pub fn of(secret: &Secret) -> Option<Self> {
        let metadata = &secret.metadata;
        let readers = SecretReaders::of(metadata).ok()?;
        let managers = metadata.managed_fields.iter().flatten();
        let changed = managers.filter_map(|entry| entry.time.clone()).max();
        Some(Self {
            is_of_store: is_of_store(secret, &readers),
            keys: secret
                .data
                .iter()
                .flatten()
                .map(|(key, _)| key.clone())
                .collect(),
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            set_at: changed.or_else(|| metadata.creation_timestamp.clone()),
            readers,
        })
    }
}

/// Whether a Secret has the marks of the store and no others: the rule of the policy `router-sets-secrets`, once more.
fn is_of_store(secret: &Secret, readers: &SecretReaders) -> bool {
    let metadata = &secret.metadata;
    readers.owner().is_some()
        && metadata.labels.as_ref() == Some(&readers.labels())
        && metadata.annotations.as_ref() == Some(&readers.annotations())
        && metadata.finalizers.as_ref().is_none_or(Vec::is_empty)
        && metadata.owner_references.as_ref().is_none_or(Vec::is_empty)
        && secret.type_.as_deref().is_none_or(|kind| kind == OPAQUE)
        && secret.immutable.is_none()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use serde_json::{Value, json};

    use super::*;

    fn secret(label: &Value, annotations: &Value) -> Secret {
        let mut object = json!({
            "metadata": {
                "name": "x", "uid": "1", "resourceVersion": "7", "annotations": annotations,
                "managedFields": [{ "time": "2026-01-02T00:00:00Z" }, { "time": "2026-01-01T00:00:00Z" }],
            },
            "type": "Opaque", "data": { "password": "aHVudGVyMg==", "user": "Ym9i" },
        });
        if *label != Value::Null {
            object["metadata"]["labels"] = json!({ APP_SECRET_LABEL: label });
        }
        serde_json::from_value(object).expect("a Secret")
    }

    #[test]
    fn marks_say_which_apps_read_a_secret() {
        let owner = || "alice".to_owned();
        let (all, none) = (
            json!({ "wavestore.io/owner": "alice", "wavestore.io/app": "hello" }),
            json!({}),
        );
        let app = SecretReaders::App {
            owner: owner(),
            app: "hello".to_owned(),
        };
        let cases = [
            (Value::Null, &all, Err(SecretFault::Closed)),
            (
                json!("true"),
                &none,
                Ok(SecretReaders::AllUsers { owner: None }),
            ),
            (
                json!("true"),
                &all,
                Ok(SecretReaders::AllUsers {
                    owner: Some(owner()),
                }),
            ),
            (
                json!("private"),
                &all,
                Ok(SecretReaders::Private { owner: owner() }),
            ),
            (
                json!("private"),
                &none,
                Err(SecretFault::Lacks(SECRET_OWNER_ANNOTATION)),
            ),
            (
                json!("private"),
                &json!({ "wavestore.io/owner": "" }),
                Err(SecretFault::Lacks(SECRET_OWNER_ANNOTATION)),
            ),
            (json!("app"), &all, Ok(app)),
            (
                json!("app"),
                &json!({ "wavestore.io/owner": "alice" }),
                Err(SecretFault::Lacks(SECRET_APP_ANNOTATION)),
            ),
            (
                json!("app"),
                &none,
                Err(SecretFault::Lacks(SECRET_OWNER_ANNOTATION)),
            ),
            (
                json!("True"),
                &all,
                Err(SecretFault::UnknownScope("True".to_owned())),
            ),
            (
                json!(""),
                &all,
                Err(SecretFault::UnknownScope(String::new())),
            ),
            (
                json!("AllUsers"),
                &all,
                Err(SecretFault::UnknownScope("AllUsers".to_owned())),
            ),
        ];
        for (label, annotations, expected) in cases {
            let found = SecretReaders::of(&secret(&label, annotations).metadata);
            assert_eq!(found, expected, "{label} {annotations}");
        }
    }

    #[test]
    fn what_is_told_of_a_secret_has_no_value() {
        let annotations = json!({ "wavestore.io/owner": "alice", "wavestore.io/app": "hello" });
        let entry = SecretEntry::of(&secret(&json!("app"), &annotations)).expect("it is told of");
        let text = serde_json::to_string(&entry).expect("plain data");
        assert_eq!(
            text,
            r#"{"scope":"App","owner":"alice","app":"hello","keys":["password","user"],"isOfStore":true,"uid":"1","resourceVersion":"7","setAt":"2026-01-02T00:00:00Z"}"#
        );
        let again: SecretEntry = serde_json::from_str(&text).expect("the same");
        assert_eq!(again, entry);
        assert_eq!(SecretEntry::of(&secret(&Value::Null, &json!({}))), None);
    }

    type Change = &'static dyn Fn(&mut Secret);

    #[test]
    fn what_others_have_marked_is_not_the_stores() {
        let annotations = json!({ "wavestore.io/owner": "alice" });
        let marked = || secret(&json!("private"), &annotations);
        let with = |change: &dyn Fn(&mut Secret)| {
            let mut secret = marked();
            change(&mut secret);
            SecretEntry::of(&secret).map(|entry| entry.is_of_store)
        };
        let cases: [(&str, Change, bool); 8] = [
            ("as it is", &|_| {}, true),
            (
                "a label",
                &|it| {
                    let labels = it.metadata.labels.get_or_insert_default();
                    labels.insert("team".to_owned(), "a".to_owned());
                },
                false,
            ),
            (
                "an annotation",
                &|it| {
                    let annotations = it.metadata.annotations.get_or_insert_default();
                    annotations.insert("reloader".to_owned(), "a".to_owned());
                },
                false,
            ),
            (
                "an app that its scope does not name",
                &|it| {
                    let annotations = it.metadata.annotations.get_or_insert_default();
                    annotations.insert(SECRET_APP_ANNOTATION.to_owned(), "a".to_owned());
                },
                false,
            ),
            (
                "a finalizer",
                &|it| it.metadata.finalizers = Some(vec!["a/b".to_owned()]),
                false,
            ),
            (
                "an owner",
                &|it| it.metadata.owner_references = Some(vec![OwnerReference::default()]),
                false,
            ),
            (
                "another type",
                &|it| it.type_ = Some("kubernetes.io/tls".to_owned()),
                false,
            ),
            ("for ever", &|it| it.immutable = Some(true), false),
        ];
        for (name, change, expected) in cases {
            assert_eq!(with(change), Some(expected), "{name}");
        }
        let open = secret(&json!("true"), &json!({}));
        assert!(SecretEntry::of(&open).is_some_and(|entry| !entry.is_of_store));
    }
}
