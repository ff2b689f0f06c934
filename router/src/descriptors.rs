//! File descriptors: as many as the system gives, and how many connections they are enough for.

use std::fmt;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors for everything but connections and sockets: listeners, the database, the Kubernetes API, files.
const OTHERS: u64 = 256;

/// A request needs two, one on each side, and so does a WebSocket. As many of the one may be open as of the other.
const EACH: u64 = 4;

/// What one process should hold, however much the system gives: each connection needs memory, too.
const ENOUGH: u64 = 10_000;

/// Raises the soft limit to the hard one, and answers what is in force now.
fn raise_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 1024; // what POSIX systems start with
    };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// How much of everything may be open at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Files, as the system allows.
    pub descriptors: u64,
    /// Connections, and as many sockets beside them.
    pub max: u32,
    each: u32,
}

impl Limits {
    /// What the settings say, or else what the system is enough for; it is asked to give what it has.
    #[must_use]
    pub(crate) fn of(max: Option<u32>, each: Option<u32>) -> Self {
        let descriptors = raise_limit();
        let enough = connections(descriptors);
        let max = max.unwrap_or(enough);
        if max > enough {
            tracing::warn!(
                "--max-connections is {max}, but {descriptors} open files may be too few for more than {enough}"
            );
        }
        let each = each.unwrap_or(max.div_ceil(2));
        Self {
            descriptors,
            max,
            each,
        }
    }

    /// Connections.
    #[must_use]
    pub(crate) fn connections(self) -> usize {
        usize::try_from(self.max).unwrap_or(usize::MAX)
    }

    /// WebSockets and other upgraded connections.
    #[must_use]
    pub(crate) fn sockets(self) -> usize {
        self.connections()
    }

    /// Connections, and sockets, of one address.
    #[must_use]
    pub(crate) fn each(self) -> usize {
        usize::try_from(self.each).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            descriptors,
            max,
            each,
        } = self;
        write!(
            f,
            "with up to {max} connections and as many sockets, {each} of each for one address ({descriptors} open files)"
        )
    }
}

/// How many connections, and as many WebSockets, so many descriptors are enough for.
#[must_use]
fn connections(descriptors: u64) -> u32 {
    let room = descriptors.saturating_sub(OTHERS) / EACH;
    u32::try_from(room.clamp(16, ENOUGH)).expect("bounded by a small constant")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_bounded_by_descriptors() {
        let cases = [
            (0, 16),
            (256, 16),
            (1024, 192),
            (4096, 960),
            (1_048_576, 10_000),
            (u64::MAX, 10_000),
        ];
        for (descriptors, expected) in cases {
            assert_eq!(connections(descriptors), expected, "{descriptors}");
        }
    }
}
