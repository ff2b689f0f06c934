//! How long an instance may stay unused.

use std::str::FromStr;
use std::time::Duration;

/// How long an instance may stay unused before it is suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceTimeout {
    /// After this time, at least one second.
    After(Duration),
    /// Never (`-1`).
    Never,
}

/// A text that is no timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a duration")]
pub struct NotTimeout;

impl FromStr for InstanceTimeout {
    type Err = NotTimeout;

    /// Reads `-1` or a sum like `1h30m`, in the units `h`, `m` and `s`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "-1" {
            return Ok(Self::Never);
        }
        let mut rest = text;
        let mut seconds: u64 = 0;
        let mut smallest = u64::MAX;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or(NotTimeout)?;
            let (number, tail) = rest.split_at(end);
            let unit = match tail.as_bytes().first() {
                Some(b'h') => 3600,
                Some(b'm') => 60,
                Some(b's') => 1,
                _ => return Err(NotTimeout),
            };
            // Each unit once and in falling order, so that `1m` after `5s` is seen as the slip it is.
            if unit >= smallest {
                return Err(NotTimeout);
            }
            smallest = unit;
            let number: u64 = number.parse().map_err(|_| NotTimeout)?;
            seconds = number
                .checked_mul(unit)
                .and_then(|part| seconds.checked_add(part))
                .ok_or(NotTimeout)?;
            rest = &tail[1..];
        }
        // A century is as good as never, and larger sums would overflow elsewhere.
        if seconds == 0 || seconds > 100 * 366 * 86_400 {
            return Err(NotTimeout);
        }
        Ok(Self::After(Duration::from_secs(seconds)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_durations_or_never() {
        let after = |seconds| Some(InstanceTimeout::After(Duration::from_secs(seconds)));
        let cases = [
            ("1h", after(3600)),
            ("90m", after(5400)),
            ("1h30m5s", after(5405)),
            ("-1", Some(InstanceTimeout::Never)),
            ("", None),
            ("0s", None),
            ("3600", None),
            ("1d", None),
            ("-2", None),
            ("-1h", None),
            ("5s1m", None),
            ("1h1h", None),
            ("h", None),
            ("99999999999999999999h", None),
            ("9999999999999999h", None),
            ("1h ", None),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
    }
}
