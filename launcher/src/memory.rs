//! What the kernel says of the container's memory: how much there may be, and whether it has killed for more.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Where each version of control groups counts the processes that were killed for want of memory, in a line `oom_kill N`.
const KILLS: [&str; 2] = ["memory.events", "memory/memory.oom_control"];

/// Where each says how many bytes there may be.
const LIMIT: [&str; 2] = ["memory.max", "memory/memory.limit_in_bytes"];

/// A limit of more bytes is version 1's word for none.
const NO_LIMIT: u64 = 1 << 60;

/// The container's memory, watched from some moment on.
#[derive(Debug)]
pub(crate) struct Memory {
    folder: PathBuf,
    /// At that moment; nothing where the kernel does not say.
    kills: Option<u64>,
}

/// Whether processes were killed since somebody began to watch, because they used more memory than there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// They were, at this limit if it is known.
    Seen(Limit),
    /// None was.
    None,
    /// The kernel does not say.
    Unknown,
}

/// How many bytes the container may use, if that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit(Option<u64>);

impl Memory {
    /// Begins to watch. The kernel tells of this container in `folder`.
    pub(crate) fn watch(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            kills: kills(folder),
        }
    }

    /// What has happened since.
    pub(crate) fn shortage(&self) -> Shortage {
        match (self.kills, kills(&self.folder)) {
            (Some(before), Some(now)) if now > before => Shortage::Seen(Limit(limit(&self.folder))),
            (Some(_), Some(_)) => Shortage::None,
            (None, _) | (_, None) => Shortage::Unknown,
        }
    }
}

impl fmt::Display for Limit {
    /// The end of a sentence: `more memory than its limit of 128Mi`, as app.toml spells it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [(1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")];
        f.write_str("more memory than its limit")?;
        let Some(bytes) = self.0 else { return Ok(()) };
        match UNITS.iter().find(|(unit, _)| bytes % unit == 0) {
            Some((unit, name)) => write!(f, " of {}{name}", bytes / unit),
            None => write!(f, " of {bytes} bytes"),
        }
    }
}

#[cfg(test)]
impl Limit {
    /// This many bytes.
    pub(crate) fn of(bytes: u64) -> Self {
        Self(Some(bytes))
    }
}

fn kills(folder: &Path) -> Option<u64> {
    first(folder, KILLS, |text| {
        let count = text
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill "))?;
        count.trim().parse().ok()
    })
}

fn limit(folder: &Path) -> Option<u64> {
    // Version 2 calls none `max`.
    first(folder, LIMIT, |text| text.trim().parse().ok()).filter(|bytes| *bytes < NO_LIMIT)
}

fn first(folder: &Path, files: [&str; 2], read: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let mut texts = files
        .iter()
        .filter_map(|file| fs::read_to_string(folder.join(file)).ok());
    texts.find_map(|text| read(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files as Linux 6.18 has them.
    fn put(folder: &Path, version: u8, kills: u64, limit: &str) {
        if version == 2 {
            let events =
                format!("low 0\nhigh 0\nmax 31\noom 2\noom_kill {kills}\noom_group_kill 0\n");
            fs::write(folder.join(KILLS[0]), events).unwrap();
            fs::write(folder.join(LIMIT[0]), format!("{limit}\n")).unwrap();
        } else {
            fs::create_dir_all(folder.join("memory")).unwrap();
            let control = format!("oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n");
            fs::write(folder.join(KILLS[1]), control).unwrap();
            fs::write(folder.join(LIMIT[1]), format!("{limit}\n")).unwrap();
        }
    }

    #[test]
    fn a_kill_for_memory_is_seen_in_both_versions() {
        let cases = [
            (2, "134217728", "more memory than its limit of 128Mi"),
            (2, "max", "more memory than its limit"),
            (1, "2147483648", "more memory than its limit of 2Gi"),
            (1, "9223372036854771712", "more memory than its limit"),
            (1, "1001", "more memory than its limit of 1001 bytes"),
        ];
        for (version, limit, words) in cases {
            let folder = tempfile::tempdir().unwrap();
            // Not the first that was ever killed here.
            put(folder.path(), version, 3, limit);
            let memory = Memory::watch(folder.path());
            assert_eq!(memory.shortage(), Shortage::None, "{limit}");
            put(folder.path(), version, 4, limit);
            let Shortage::Seen(limit) = memory.shortage() else {
                panic!("{:?}", memory.shortage());
            };
            assert_eq!(limit.to_string(), words);
        }
    }

    #[test]
    fn a_kernel_that_does_not_say_is_not_taken_at_its_word() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::watch(folder.path());
        put(folder.path(), 2, 1, "max");
        assert_eq!(memory.shortage(), Shortage::Unknown);
    }
}
