//! `EnvironmentKey`: the hash of all that an environment is made from, which names it.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// Bytes of it. A whole SHA-256 in hexadecimal would be longer than a label's value and a job's name may be.
const BYTES: usize = 20;

/// The first 160 bits of a SHA-256, written as 40 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvironmentKey([u8; BYTES]);

impl EnvironmentKey {
    /// Takes a finished SHA-256.
    ///
    /// # Panics
    /// Never: a SHA-256 has more bytes than a key.
    #[must_use]
    pub fn from_sha256(sha256: [u8; 32]) -> Self {
        Self(*sha256.first_chunk().expect("32 bytes hold 20"))
    }
}

impl fmt::Display for EnvironmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for EnvironmentKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || Error::InvalidEnvironmentKey(text.to_owned());
        // One spelling only, since the text becomes a path.
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(invalid());
        }
        let mut bytes = [0; BYTES];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| invalid())?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::EnvironmentKey;

    #[test]
    fn keys_have_one_spelling() {
        let text = "0f".repeat(20);
        let key: EnvironmentKey = text.parse().expect("a key");
        assert_eq!(key.to_string(), text);
        let upper = "0F".repeat(20);
        let long = "0f".repeat(21);
        for bad in [
            "",
            "..",
            "0f",
            &upper,
            &long,
            "../../bundles/sha256/0000000000000000",
        ] {
            assert!(bad.parse::<EnvironmentKey>().is_err(), "{bad}");
        }
    }
}
