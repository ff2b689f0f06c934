//! What Helm may answer, in words for people.

#![deny(clippy::wildcard_enum_match_arm)]

use std::time::Duration;

/// Why a Helm command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such program.
    #[error("could not start `{program}`")]
    Start {
        /// The program.
        program: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// Another operator may act now.
    #[error("helm {command} was not run: this operator does not lead")]
    NotLeading {
        /// The command, such as `upgrade`.
        command: String,
    },
    /// Its pipes broke.
    #[error("could not talk to `helm {command}`")]
    Pipe {
        /// The command, such as `upgrade`.
        command: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// It said no.
    #[error("helm {command} failed: {words}")]
    Failed {
        /// The command, such as `upgrade`.
        command: String,
        /// Its last words.
        words: String,
    },
    /// Somebody killed it, most likely the kernel for want of memory.
    #[error("helm {command} was killed: {words}")]
    Killed {
        /// The command, such as `upgrade`.
        command: String,
        /// Its last words.
        words: String,
    },
    /// It ran too long and was ended.
    #[error("helm {command} was ended after {}: {words}", humantime::format_duration(*limit))]
    TimedOut {
        /// The command, such as `upgrade`.
        command: String,
        /// How long it may run.
        limit: Duration,
        /// Its last words.
        words: String,
    },
    /// Its output is not what it should be.
    #[error("helm {command} answered what cannot be read")]
    Output {
        /// The command, such as `upgrade`.
        command: String,
        /// The parser's words.
        source: serde_json::Error,
    },
    /// A Helm of another age.
    #[error("`{program}` is Helm {version}; version 4 or later is needed")]
    Version {
        /// The program.
        program: String,
        /// What it says.
        version: String,
    },
}

impl Error {
    /// Whether Helm has installed nothing because there is a release of this name.
    pub(crate) fn is_name_in_use(&self) -> bool {
        match self {
            Self::Failed { words, .. } => {
                words.contains("cannot reuse a name that is still in use")
            }
            Self::Start { .. }
            | Self::NotLeading { .. }
            | Self::Pipe { .. }
            | Self::Killed { .. }
            | Self::TimedOut { .. }
            | Self::Output { .. }
            | Self::Version { .. } => false,
        }
    }

    /// The one next step that helps, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Start { .. } | Self::Version { .. } => {
                Some("install Helm 4, or name it with --helm".to_owned())
            }
            Self::TimedOut { .. } => Some(
                "see whether the API server answers, or give it longer with --helm-timeout"
                    .to_owned(),
            ),
            Self::Killed { .. } => Some(
                "if it needed more memory than the operator's container may have, raise the container's limit or lower --helm-concurrency"
                    .to_owned(),
            ),
            Self::NotLeading { .. }
            | Self::Pipe { .. }
            | Self::Failed { .. }
            | Self::Output { .. } => None,
        }
    }
}
