//! The name of an instance.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest name of a Helm release.
const MAX_LENGTH: usize = 53;

/// The name of an instance: a DNS label of at most 53 characters, and not the reserved name `apps`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct InstanceId(Arc<str>);

/// A text that cannot be the name of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an instance's name is a DNS label of at most {MAX_LENGTH} characters (a-z, 0-9 and -), and not `{}`",
    crds::RESERVED_INSTANCE_NAME
)]
pub(crate) struct InvalidInstanceId;

impl FromStr for InstanceId {
    type Err = InvalidInstanceId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let label = !text.is_empty()
            && text.len() <= MAX_LENGTH
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if label && text != crds::RESERVED_INSTANCE_NAME {
            Ok(Self(text.into()))
        } else {
            Err(InvalidInstanceId)
        }
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for InstanceId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for InstanceId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_name_is_a_dns_label() {
        let long = "a".repeat(53);
        let too_long = "a".repeat(54);
        let cases = [
            ("sales", true),
            ("sales-2", true),
            ("7", true),
            (long.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            ("apps", false),
            ("-sales", false),
            ("sales-", false),
            ("Sales", false),
            ("sa.les", false),
            ("sa_les", false),
            ("../etc", false),
            ("%61", false),
        ];
        for (text, valid) in cases {
            assert_eq!(text.parse::<InstanceId>().is_ok(), valid, "{text}");
        }
    }
}
