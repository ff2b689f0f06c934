//! Why the launcher gives up, and with which code.
#![deny(clippy::wildcard_enum_match_arm)]

use std::error::Error as _;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::digest::Digest;
use crate::fetch;
use crate::reason;

/// Why the launcher gives up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The arguments contradict each other.
    #[error("{0}")]
    Usage(String),
    /// The launcher's own runtime could not be set up.
    #[error("could not set up {what}")]
    Setup {
        /// What failed.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A port is in use.
    #[error("could not listen on port `{port}`")]
    Listen {
        /// The port.
        port: u16,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The bundle could not be fetched.
    #[error("could not fetch the app's bundle from `{store}` ({tries} tries in {seconds} s)")]
    Fetch {
        /// Address of the store.
        store: String,
        /// How often it was tried.
        tries: u32,
        /// Seconds from the first try to the last.
        seconds: u64,
        /// Why the last try failed.
        #[source]
        source: Box<fetch::Failure>,
    },
    /// The exact versions that are in the environment could not be asked for, or stored.
    #[error(
        "could not get or keep the versions of packages at `{store}` ({tries} tries in {seconds} s)"
    )]
    Lock {
        /// Address of the store.
        store: String,
        /// How often it was tried.
        tries: u32,
        /// Seconds from the first try to the last.
        seconds: u64,
        /// Why the last try failed.
        #[source]
        source: Box<fetch::Failure>,
    },
    /// The environment that was built could not be stored.
    #[error("could not store the environment at `{store}` ({tries} tries in {seconds} s)")]
    Store {
        /// Address of the store.
        store: String,
        /// How often it was tried.
        tries: u32,
        /// Seconds from the first try to the last.
        seconds: u64,
        /// Why the last try failed.
        #[source]
        source: Box<fetch::Failure>,
    },
    /// The environment that was built could not be packed.
    #[error("could not pack the environment")]
    Pack(#[source] io::Error),
    /// A signal ended the building of an environment.
    #[error("stopped before the environment was built")]
    Stopped,
    /// The bundle could not be unpacked.
    #[error("could not unpack bundle `{digest}`")]
    Unpack {
        /// The bundle.
        digest: Box<str>,
        /// What is wrong with it.
        #[source]
        source: Box<bundle::Error>,
    },
    /// A file could not be read or written.
    #[error("could not {verb} `{}`", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program could not be started.
    #[error("could not start `{}`", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// uv could not make the virtual environment.
    #[error("could not make the Python environment: {0}")]
    Environment(String),
    /// uv could not install the requirements.
    #[error("could not install `requirements.txt`: {0}")]
    Install(String),
    /// Debian packages could not be unpacked.
    #[error("could not unpack what `packages.txt` names: {0}")]
    Packages(String),
    /// The environment of a Wave app has no Wave at all.
    #[error("`requirements.txt` does not bring `h2o-wave`, which every Wave app needs")]
    NoWave,
    /// The environment has h2o-wave, but from a wheel without the server.
    #[error("the installed `h2o-wave` has no Wave server: it comes from a wheel for any platform")]
    NoWaveServer,
    /// The app or the Wave server does not stay up.
    #[error("{reason}")]
    App {
        /// Which process, how it ended, and its last words.
        reason: String,
        /// What to do about it.
        hint: Option<String>,
        /// The exit code to pass on.
        code: u8,
    },
}

impl Error {
    pub(crate) fn unpack(digest: &Digest, source: bundle::Error) -> Self {
        Self::Unpack {
            digest: digest.to_string().into(),
            source: Box::new(source),
        }
    }

    /// One next step, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                "another process in the pod listens there; choose another port".to_owned()
            }
            Self::Fetch { source, .. } | Self::Lock { source, .. } | Self::Store { source, .. } => {
                return source.hint().map(str::to_owned);
            }
            Self::Unpack { source, .. } => {
                if let bundle::Error::Write { source, .. } = &**source
                    && is_full(source)
                {
                    reason::FULL.to_owned()
                } else {
                    return source.hint();
                }
            }
            Self::File { source, .. } | Self::Pack(source) if is_full(source) => {
                reason::FULL.to_owned()
            }
            Self::Environment(words) | Self::Install(words) => {
                return reason::hint_of_uv(words).map(str::to_owned);
            }
            Self::Spawn { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "the image must have `uv` and `python3` on the PATH, and `apt-get` and `dpkg-deb` for apps with packages.txt"
                    .to_owned()
            }
            Self::NoWave => "add a line `h2o-wave` to requirements.txt, or set \
                `[Runtime] AppMode = \"python\"` in app.toml if this is no Wave app"
                .to_owned(),
            Self::NoWaveServer => "name `h2o-wave` from PyPI in requirements.txt instead of a \
                `py3-none-any` wheel: its Linux wheels carry the server"
                .to_owned(),
            Self::App { hint, .. } => return hint.clone(),
            Self::Usage(_)
            | Self::Setup { .. }
            | Self::Listen { .. }
            | Self::File { .. }
            | Self::Pack(_)
            | Self::Stopped
            | Self::Spawn { .. }
            | Self::Packages(_) => return None,
        };
        Some(hint)
    }

    /// The process's exit code; the only place that chooses one.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::App { code, .. } => *code,
            Self::Setup { .. }
            | Self::Listen { .. }
            | Self::Fetch { .. }
            | Self::Lock { .. }
            | Self::Store { .. }
            | Self::Pack(_)
            | Self::Stopped
            | Self::Unpack { .. }
            | Self::File { .. }
            | Self::Spawn { .. }
            | Self::Environment(_)
            | Self::Install(_)
            | Self::Packages(_)
            | Self::NoWave
            | Self::NoWaveServer => 1,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StorageFull
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// An error, its causes and its hint on one line.
pub(crate) fn told(error: &Error) -> String {
    let text = chain(error);
    match error.hint() {
        Some(hint) => format!("{text} (hint: {hint})"),
        None => text,
    }
}

/// Prints an error with its causes and its hint to stderr, and picks the exit code.
#[must_use]
pub fn report(result: Result<ExitCode, Error>) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  Caused by: {error}");
        cause = error.source();
    }
    if let Some(hint) = error.hint() {
        eprintln!("\nhint: {hint}");
    }
    ExitCode::from(error.exit_code())
}
