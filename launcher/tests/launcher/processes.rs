//! Looking at processes.

use std::fs;

/// One process as `/proc` shows it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) is_zombie: bool,
    pub(crate) command: String,
}

/// All processes.
pub(crate) fn all() -> Vec<Seen> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(one)
        .collect()
}

fn one(pid: u32) -> Option<Seen> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
    let is_zombie = rest.next()? == "Z";
    let parent = rest.next()?.parse().ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    Some(Seen {
        pid,
        parent,
        is_zombie,
        command,
    })
}

/// The living children of `parent` whose command has `part` in it.
pub(crate) fn children(parent: u32, part: &str) -> Vec<u32> {
    all()
        .into_iter()
        .filter(|seen| seen.parent == parent && !seen.is_zombie && seen.command.contains(part))
        .map(|seen| seen.pid)
        .collect()
}

/// Whether `pid` lives.
pub(crate) fn lives(pid: u32) -> bool {
    one(pid).is_some_and(|seen| !seen.is_zombie)
}
