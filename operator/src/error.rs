//! What can go wrong, in words for people.

#![deny(clippy::wildcard_enum_match_arm)]

use std::fmt::Write as _;

use crate::app::import;
use crate::{helm, lease};

/// Everything that makes the operator fail, or a reconciliation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error("could not {task}")]
    Kube {
        /// What was to be done.
        task: String,
        /// The API server's words.
        source: kube::Error,
    },
    /// The kubeconfig or the pod's service account cannot be used.
    #[error("could not find out how to reach the API server")]
    Config(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The catalog or the blob store failed.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// Helm cannot be run.
    #[error(transparent)]
    Helm(#[from] helm::Error),
    /// Another operator may act now.
    #[error(transparent)]
    Lease(#[from] lease::Error),
    /// A bundle could not be imported.
    #[error(transparent)]
    Import(#[from] import::Error),
    /// Something of the system.
    #[error("could not {task}")]
    System {
        /// What was to be done.
        task: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// The chart is not where it should be.
    #[error("`{0}` is not the folder of a chart: it has no `Chart.yaml` with a version")]
    NoChart(String),
    /// A part of the operator ended that should run for ever.
    #[error("the {0} ended unexpectedly")]
    Ended(&'static str),
    /// The operator is asked to stop.
    #[error("the operator is stopping")]
    Stopping,
}

impl Error {
    /// The one next step that helps, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Catalog(error) => error.hint(),
            Self::Helm(error) => error.hint(),
            Self::Import(error) => error.hint(),
            Self::NoChart(_) => Some("name the folder with --chart".to_owned()),
            Self::Config(_) => Some(
                "run in a pod with a service account, or set KUBECONFIG to a file that exists"
                    .to_owned(),
            ),
            Self::Kube { .. }
            | Self::Lease(_)
            | Self::System { .. }
            | Self::Ended(_)
            | Self::Stopping => None,
        }
    }
}

/// An error and all its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries repeat their cause in their own words.
        if !text.ends_with(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The chain of causes, and the hint in brackets: what a condition's message says.
pub(crate) fn message(error: &dyn std::error::Error, hint: Option<String>) -> String {
    let text = chain(error);
    match hint {
        Some(hint) => format!("{text} (hint: {hint})"),
        None => text,
    }
}
