//! `Exit`: how a process ended.

use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use nix::sys::signal::Signal;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// The code by which shells and Kubernetes know it: 128 + signal for a signal.
    pub(crate) fn code(self) -> u8 {
        let code = match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        };
        u8::try_from(code).unwrap_or(u8::MAX)
    }

    pub(crate) fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// Whether it was killed outright, which is what the kernel does when memory runs out.
    pub(crate) fn is_kill(self) -> bool {
        self == Self::Signal(Signal::SIGKILL as i32)
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with code {code}"),
            Self::Signal(signal) => match Signal::try_from(*signal) {
                Ok(signal) => write!(f, "was killed by {signal}"),
                Err(_) => write!(f, "was killed by signal {signal}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn exits_are_told_and_numbered() {
        let cases = [
            (Exit::Code(0), "ended with code 0", 0),
            (Exit::Code(3), "ended with code 3", 3),
            (Exit::Signal(9), "was killed by SIGKILL", 137),
            (Exit::Signal(64), "was killed by signal 64", 192),
        ];
        for (exit, text, code) in cases {
            assert_eq!((exit.to_string().as_str(), exit.code()), (text, code));
        }
    }
}
