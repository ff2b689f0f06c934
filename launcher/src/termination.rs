//! The termination message, which Kubernetes keeps after the container has ended.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use tracing::debug;

use crate::error::{Error, chain};
use crate::tail::cut;

/// Kubernetes keeps this much of it.
const BYTES: usize = 4096;

/// Writes what the launcher leaves behind.
pub(crate) fn write(file: &Path, text: &str) {
    // Outside of Kubernetes there is no such file, and none is made in `/dev`.
    let written = OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(file)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    if let Err(error) = written {
        debug!("Could not write `{}`: {error}", file.display());
    }
}

/// Why the launcher gives up, and what to do about it.
pub(crate) fn message(error: &Error) -> String {
    let mut text = chain(error);
    if let Some(hint) = error.hint() {
        text.push_str("\nhint: ");
        text.push_str(&hint);
    }
    cut(&text, BYTES).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_cause_and_hint() {
        let error = Error::App {
            reason: "the app ended with code 1: ModuleNotFoundError: No module named 'pandas'"
                .to_owned(),
            hint: Some("add it".to_owned()),
            code: 1,
        };
        assert_eq!(
            message(&error),
            "the app ended with code 1: ModuleNotFoundError: No module named 'pandas'\nhint: add it"
        );
        let long = Error::Install("é".repeat(BYTES));
        assert!(message(&long).len() <= BYTES);
    }
}
