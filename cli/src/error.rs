//! What can go wrong, in words for people.

use std::path::PathBuf;

use crate::pack;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nobody has said which store, or with which token.
    #[error("you are not signed in to a store")]
    NotSignedIn,
    /// A store that is not among the kept ones.
    #[error("you are not signed in to `{0}`")]
    UnknownStore(String),
    /// A token that is not there.
    #[error("you have no token `{0}`")]
    NoToken(String),
    /// Nobody has answered in time.
    #[error("nobody has let this terminal in")]
    NotLetIn,
    /// Text that is no store's address.
    #[error("`{0}` is not the address of a store")]
    Address(String),
    /// A token that is none.
    #[error("this is no token of a store")]
    Token,
    /// A command that the Kubernetes API alone cannot do.
    #[error("this needs a store, and an account there")]
    NeedsStore,
    /// An instance of nobody.
    #[error("nobody is named who is to own the instance")]
    NoOwner,
    /// An owner for a store, which knows its caller.
    #[error("a store makes instances for whoever asks")]
    OwnerNeedsKube,
    /// No kubeconfig, or a broken one.
    #[error("the kubeconfig cannot be used")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// The Kubernetes API said no, or nothing.
    #[error("the Kubernetes API has not done it")]
    Kube(#[from] kube::Error),
    /// The Kubernetes API broke off a log.
    #[error("the log broke off")]
    Log(#[source] std::io::Error),
    /// An instance that has no log.
    #[error("the instance `{0}` has no pod")]
    NoPod(String),
    /// Our own file of settings.
    #[error("could not {task} `{}`", file.display())]
    Settings {
        /// `read` or `write`.
        task: &'static str,
        /// The file.
        file: PathBuf,
        /// The system's words, or what is wrong with its content.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The folder could not be packed.
    #[error(transparent)]
    Pack(#[from] pack::Error),
    /// What was packed, or is to be published, is no bundle.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    /// A file could not be read or written.
    #[error("could not {task} `{}`", file.display())]
    File {
        /// `read` or `write`.
        task: &'static str,
        /// The file.
        file: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The store does not answer.
    #[error("could not reach the store")]
    Reach(#[from] reqwest::Error),
    /// The store said no.
    #[error("{detail}")]
    Refused {
        /// The store's own words.
        detail: String,
        /// Its hint.
        hint: Option<String>,
        /// Its name for the reason, which never changes.
        code: Option<String>,
        /// HTTP status.
        status: reqwest::StatusCode,
    },
    /// The store has taken the bundle, and cannot use it.
    #[error("{message}")]
    Import {
        /// What the `WaveApp` says.
        message: String,
    },
    /// An app without a version.
    #[error("`{0}` names no version")]
    NoVersion(String),
    /// A line of a file of variables that is none.
    #[error("line {line} of `{}` is not `KEY=VALUE`", file.display())]
    BadLine {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A key of a secret that is given two values.
    #[error("the key `{0}` is given twice")]
    KeyTwice(String),
    /// Nobody takes what we print.
    #[error("could not write to standard output")]
    Print(#[source] std::io::Error),
    /// No such app, or none that this token's owner sees.
    #[error("there is no app `{0}` that you see")]
    NoApp(String),
    /// An instance does not come up.
    #[error("the instance `{name}` does not become ready: {detail}")]
    NotReady {
        /// The instance's name.
        name: String,
        /// What the store says of it.
        detail: String,
    },
    /// Somebody has pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// It takes too long.
    #[error("the store is still importing the app")]
    Slow {
        /// Name of the `WaveApp`.
        name: String,
    },
}

impl Error {
    /// The next step that helps, where there is one.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NotSignedIn => Some(
                "run `wavestore login https://<store>`, or set WAVESTORE_URL and WAVESTORE_TOKEN; with a kubeconfig alone, add --kube"
                    .to_owned(),
            ),
            Self::UnknownStore(_) => Some(
                "`wavestore config list` shows the stores that you are signed in to".to_owned(),
            ),
            Self::NoToken(_) => Some("`wavestore token list` shows those that you have".to_owned()),
            Self::NotLetIn => Some(
                "run it again, and open the address that it shows in any browser; or make a token on the store's page /account, and add --with-token"
                    .to_owned(),
            ),
            Self::Settings { task: "read", .. } => {
                Some("move the file away, and run `wavestore login` again".to_owned())
            }
            Self::NeedsStore => Some(
                "run it without --kube, after `wavestore login`; kubectl makes WaveApps of bundles, too".to_owned(),
            ),
            Self::NoOwner => Some("add --owner with a user name of the store".to_owned()),
            Self::OwnerNeedsKube => Some("leave --owner out, or add --kube".to_owned()),
            Self::Kubeconfig(_) => {
                Some("name it with --kubeconfig, and see `kubectl config view`".to_owned())
            }
            Self::Kube(error) => {
                let is_unknown = matches!(error, kube::Error::Api(status) if status.code == 404);
                is_unknown.then(|| {
                    "is it in this namespace? It is the context's unless --namespace names one".to_owned()
                })
            }
            Self::NoPod(_) => Some("it may be suspended or asleep: see `wavestore --kube instance get`".to_owned()),
            Self::Address(_) => Some(
                "write it as the browser shows it, such as https://store.example.com".to_owned(),
            ),
            Self::Token => {
                Some("make one with the scope `store` on the store's page /account".to_owned())
            }
            Self::Pack(error) => error.hint().map(str::to_owned),
            Self::Bundle(error) => error.hint(),
            Self::Refused { hint, status, .. } => hint.clone().or_else(|| {
                (*status == reqwest::StatusCode::UNAUTHORIZED)
                    .then(|| "run `wavestore login` again: the token is revoked, or has ended".to_owned())
            }),
            Self::Reach(_) => {
                Some("check the address, and that the store may be reached from here".to_owned())
            }
            Self::NoVersion(app) => Some(format!("write `{app}:1.0.0`, or add --app-version")),
            Self::NoApp(_) => Some("`wavestore app list` shows those that you see".to_owned()),
            Self::NotReady { name, .. } => Some(format!(
                "see its page in the store, or `wavestore instance get {name}`"
            )),
            Self::BadLine { .. } => Some(
                "put what has several lines into a file of its own, for --from-file".to_owned(),
            ),
            Self::KeyTwice(_) => Some("say once where its value comes from".to_owned()),
            Self::Slow { name } => Some(format!("look again with `wavestore app get {name}`")),
            Self::Settings { .. }
            | Self::File { .. }
            | Self::Log(_)
            | Self::Print(_)
            | Self::Import { .. }
            | Self::Interrupted => None,
        }
    }
}
