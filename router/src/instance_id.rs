//! The name of an instance.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest name of a Helm release.
pub(crate) const MAX_LENGTH: usize = 53;

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

/// A label that instances of the app can be called by, made of the app's name; at most `length` characters.
#[must_use]
pub(crate) fn label_of(app: &str, length: usize) -> String {
    let label: String = app
        .to_ascii_lowercase()
        .chars()
        .map(|letter| match letter {
            'a'..='z' | '0'..='9' => letter,
            _ => '-',
        })
        .skip_while(|letter| !letter.is_ascii_lowercase())
        .take(length)
        .collect();
    match label.trim_end_matches('-') {
        "" | crds::RESERVED_INSTANCE_NAME => "my-app".to_owned(),
        label => label.to_owned(),
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

    #[test]
    fn an_instance_is_called_like_its_app() {
        let cases = [
            ("hello", 53, "hello"),
            ("Hello_World.2", 53, "hello-world-2"),
            ("Hello_World.2", 6, "hello"),
            ("_x_", 53, "x"),
            ("2048", 53, "my-app"),
            ("2048-game", 53, "game"),
            ("apps", 53, "my-app"),
            ("---", 53, "my-app"),
        ];
        for (name, length, expected) in cases {
            assert_eq!(label_of(name, length), expected);
            assert!(expected.parse::<InstanceId>().is_ok());
        }
    }
}
