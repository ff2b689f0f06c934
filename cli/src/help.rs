//! What shells and `man` know of this command, made of its own arguments.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Cli;
use crate::error::Error;
use crate::print::{note, print_piece};

/// Prints what lets a shell complete the command.
pub(crate) fn completion(shell: Shell) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "wavestore", &mut script);
    print_piece(&script).map(drop)
}

/// Writes the manual's pages.
pub(crate) fn manual(folder: &Path) -> Result<(), Error> {
    let write = || {
        std::fs::create_dir_all(folder)?;
        clap_mangen::generate_to(Cli::command(), folder)
    };
    write().map_err(|source| Error::File {
        task: "write",
        file: folder.to_owned(),
        source,
    })?;
    note(format_args!("Wrote the manual to {}", folder.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().expect("a folder");
        manual(folder.path()).expect("written");
        for name in [
            "wavestore",
            "wavestore-app-list",
            "wavestore-instance-logs",
            "wavestore-alias-set",
            "wavestore-tag-set",
            "wavestore-secret-set",
        ] {
            let page = folder.path().join(format!("{name}.1"));
            let page = std::fs::read_to_string(page).expect("a page");
            assert!(page.contains(".SH DESCRIPTION"), "{name}: {page}");
        }
    }

    #[test]
    fn shells_know_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "wavestore", &mut script);
            let script = String::from_utf8(script).expect("text");
            for word in ["instance", "logs", "alias", "completion"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
