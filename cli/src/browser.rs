//! The browser of whoever sits at the terminal.

use std::process::{Command, Stdio};

use crate::print::note;

/// Opens an address in it, where there is one; the address is printed anyway.
pub(crate) fn open(url: &str) {
    let opener = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let started = Command::new(opener)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if started.is_err() {
        note("No browser could be opened from here.");
    }
}
