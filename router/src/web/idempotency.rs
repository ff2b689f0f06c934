//! `Idempotency-Key`: a request that makes something, and is sent again, makes it once.
//!
//! The key is written onto what it has made, and nowhere else: the name of the object is what decides, so it holds on every replica,
//! as long as the object is there.

use http::HeaderMap;
use kube::ResourceExt;
use sha2::{Digest, Sha256};

use crate::error::Error;

/// The header.
pub(super) const HEADER: &str = "idempotency-key";

/// The annotation that says by which request something was made.
const ANNOTATION: &str = "wavestore.io/idempotency-key";

/// Longest key, in bytes.
const LONGEST: usize = 255;

/// A key of somebody. It is hashed: others who see the object learn nothing that they could send themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    /// The key that a request has, if it has one.
    ///
    /// # Errors
    /// [`Error::BadRequest`] when it is none that can be kept, or there are several.
    pub(super) fn of(headers: &HeaderMap, account: &str) -> Result<Option<Self>, Error> {
        let mut lines = headers.get_all(HEADER).iter();
        let Some(line) = lines.next() else {
            return Ok(None);
        };
        let key = line.as_bytes();
        let is_good = lines.next().is_none()
            && (1..=LONGEST).contains(&key.len())
            && key.iter().all(|letter| (b' '..=b'~').contains(letter));
        if !is_good {
            return Err(Error::BadRequest(
                "`Idempotency-Key` has 1 to 255 printable characters, and stands there once",
            ));
        }
        Ok(Some(Self(short([account.as_bytes(), key]))))
    }

    /// Numbers that are always the same for this key, to make a name of.
    pub(super) fn digits(&self, attempt: usize) -> [u8; 32] {
        let attempt = attempt.to_be_bytes();
        Sha256::new()
            .chain_update(&self.0)
            .chain_update(attempt)
            .finalize()
            .into()
    }

    /// Marks what a request with this key makes.
    pub(super) fn mark(&self, object: &mut impl ResourceExt, request: &[u8]) {
        let mark = self.value(request);
        object.annotations_mut().insert(ANNOTATION.to_owned(), mark);
    }

    /// Whether this key has made the object.
    ///
    /// # Errors
    /// [`Error::KeyReused`] when it has, with another request.
    pub(super) fn has_made(
        &self,
        object: &impl ResourceExt,
        request: &[u8],
    ) -> Result<bool, Error> {
        let Some(mark) = object.annotations().get(ANNOTATION) else {
            return Ok(false);
        };
        match mark.split_once('.') {
            Some((key, _)) if key == self.0 => {
                if *mark == self.value(request) {
                    Ok(true)
                } else {
                    Err(Error::KeyReused)
                }
            }
            Some(_) | None => Ok(false),
        }
    }

    fn value(&self, request: &[u8]) -> String {
        format!("{}.{}", self.0, short([request]))
    }
}

/// 128 bits of a hash of these parts, each with its end.
fn short<const N: usize>(parts: [&[u8]; N]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hex(&hash.finalize()[..16])
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use crds::{WaveAlias, WaveAliasSpec};
    use http::HeaderValue;

    use super::*;

    fn key(account: &str, lines: &[&str]) -> Result<Option<Key>, Error> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(HEADER, HeaderValue::from_str(line).expect("a value"));
        }
        Key::of(&headers, account)
    }

    #[test]
    fn a_key_is_one_persons_and_one_requests() {
        let spec = WaveAliasSpec {
            instance: "sales".to_owned(),
            primary: false,
            host: None,
        };
        let mut made = WaveAlias::new("crm", spec);
        let of = |account: &str, text: &str| {
            let key = key(account, &[text]).expect("a key");
            key.expect("a key")
        };
        let first = of("alice", "one");
        assert!(!first.has_made(&made, b"x").expect("no mark"));
        first.mark(&mut made, b"x");
        assert!(first.has_made(&made, b"x").expect("the same"));
        let reused = first.has_made(&made, b"y").expect_err("another request");
        assert_eq!(reused.code(), "KeyReused");
        for other in [of("mallory", "one"), of("alice", "two"), of("al", "iceone")] {
            assert!(!other.has_made(&made, b"x").expect("another key"));
        }
        let mark = &made.annotations()[ANNOTATION];
        assert!(!mark.contains("one") && !mark.contains("alice"), "{mark}");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert_eq!(key("alice", &[]).expect("none"), None);
        let long = "x".repeat(256);
        for lines in [&[""][..], &["a", "b"], &["a\tb"], &[&long]] {
            let error = key("alice", lines).expect_err("refused");
            assert_eq!(error.code(), "BadRequest", "{lines:?}");
        }
        assert!(key("alice", &[&long[1..]]).expect("a key").is_some());
    }
}
