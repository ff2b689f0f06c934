//! Why an app does not get a Secret, in words for people.

#![deny(clippy::wildcard_enum_match_arm)]

use crds::{
    APP_SECRET_LABEL, SECRET_APP_ANNOTATION, SECRET_OWNER_ANNOTATION, SecretFault, SecretScope,
};

/// Why an app does not get a Secret that it names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
pub enum Refusal {
    /// No Secret can have this name.
    #[error("app.toml: `Secret` of `{entry}` is `{value}`, which is no name of a Secret")]
    BadSecretName {
        /// The place in `app.toml`.
        entry: String,
        /// What is there.
        value: String,
    },
    /// No Secret can have this key.
    #[error("app.toml: `SecretKey` of `{entry}` is `{value}`, which is no key of a Secret")]
    BadSecretKey {
        /// The place in `app.toml`.
        entry: String,
        /// What is there.
        value: String,
    },
    /// One of Helm's own records.
    #[error("app.toml: `Secret` of `{entry}` is `{secret}`, which is one of Helm's own records")]
    ReservedSecret {
        /// The place in `app.toml`.
        entry: String,
        /// The Secret.
        secret: String,
    },
    /// There is no such Secret.
    #[error("app.toml: `{entry}` needs the Secret `{secret}`, which does not exist")]
    SecretNotFound {
        /// The place in `app.toml`.
        entry: String,
        /// The Secret.
        secret: String,
        /// The key in it.
        key: String,
    },
    /// The Secret has no such key.
    #[error("app.toml: `{entry}` needs the key `{key}`, which the Secret `{secret}` does not have")]
    SecretKeyNotFound {
        /// The place in `app.toml`.
        entry: String,
        /// The Secret.
        secret: String,
        /// The key in it.
        key: String,
    },
    /// The Secret is private to another owner's apps.
    #[error(
        "app.toml: `{entry}` names the Secret `{secret}`, which is private to the apps of another owner"
    )]
    SecretOfAnotherOwner {
        /// The place in `app.toml`.
        entry: String,
        /// The Secret.
        secret: String,
    },
    /// The Secret is for another app, or for another owner's versions of this one.
    #[error(
        "app.toml: `{entry}` names the Secret `{secret}`, which is for another app, or for another owner's versions of it"
    )]
    SecretOfAnotherApp {
        /// The place in `app.toml`.
        entry: String,
        /// The Secret.
        secret: String,
        /// The app that does not get it.
        app: String,
    },
    /// The Secret carries the label, but not what belongs to it.
    #[error("app.toml: `{entry}` names the Secret `{secret}`, which is open to nobody: {}", fault_words(.fault))]
    SecretMarksUnclear {
        /// The place in `app.toml`.
        entry: String,
        /// The Secret.
        secret: String,
        /// What is wrong with its marks.
        fault: SecretFault,
    },
    /// The Secret does not carry the label.
    #[error("app.toml: `{entry}` names the Secret `{secret}`, which is not open to apps")]
    SecretNotOpen {
        /// The place in `app.toml`.
        entry: String,
        /// The Secret.
        secret: String,
    },
}

impl Refusal {
    /// Stable code for conditions, such as `SecretNotOpen`.
    pub(crate) fn code(&self) -> &'static str {
        self.into()
    }

    /// No change in the cluster helps, only another `app.toml`.
    pub(crate) fn blames_bundle(&self) -> bool {
        match self {
            Self::BadSecretName { .. }
            | Self::BadSecretKey { .. }
            | Self::ReservedSecret { .. } => true,
            Self::SecretNotFound { .. }
            | Self::SecretKeyNotFound { .. }
            | Self::SecretOfAnotherOwner { .. }
            | Self::SecretOfAnotherApp { .. }
            | Self::SecretMarksUnclear { .. }
            | Self::SecretNotOpen { .. } => false,
        }
    }

    /// The one next step that helps.
    #[must_use]
    pub fn hint(&self) -> String {
        let all = SecretScope::AllUsers.label();
        let open = |secret| format!("kubectl label secret {secret} {APP_SECRET_LABEL}={all}");
        match self {
            Self::BadSecretName { .. } => {
                "use lower-case letters, digits, `-` and `.`, with a letter or digit at both ends"
                    .to_owned()
            }
            Self::BadSecretKey { .. } => "use letters, digits, `-`, `_` and `.`".to_owned(),
            Self::ReservedSecret { .. } => "put the value into a Secret of its own".to_owned(),
            Self::SecretNotFound { secret, key, .. } => format!(
                "make it with `wavestore secret set {secret} --from-stdin {key}`, or with `kubectl create secret generic {secret} --from-literal={key}=<value>` and open it to apps with `{}`",
                open(secret)
            ),
            Self::SecretKeyNotFound { secret, .. } => {
                format!("see its keys with `kubectl describe secret {secret}`")
            }
            Self::SecretNotOpen { secret, .. } => {
                format!("if every app may read it, open it with `{}`", open(secret))
            }
            Self::SecretOfAnotherOwner { .. } => {
                "name one of the app's own owner: `wavestore secret set <name>` makes it".to_owned()
            }
            Self::SecretOfAnotherApp { app, .. } => format!(
                "name one for this app, set by its owner: `wavestore secret set <name> --scope app={app}` makes it"
            ),
            Self::SecretMarksUnclear { .. } => format!(
                "the label `{APP_SECRET_LABEL}` is `{all}`, `{}` or `{}`; both of those need the annotation `{SECRET_OWNER_ANNOTATION}`, the last `{SECRET_APP_ANNOTATION}` as well",
                SecretScope::Private.label(),
                SecretScope::App.label(),
            ),
        }
    }
}

fn fault_words(fault: &SecretFault) -> String {
    match fault {
        SecretFault::Closed => format!("it has no label `{APP_SECRET_LABEL}`"),
        SecretFault::UnknownScope(value) => {
            format!("its label `{APP_SECRET_LABEL}` is `{value}`")
        }
        SecretFault::Lacks(annotation) => format!("it has no annotation `{annotation}`"),
    }
}
