//! Ids that are secrets: whoever shows one is let in. Only their SHA-256 is ever stored, so that a copy of
//! the database opens nothing.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::Error;

#[derive(Clone, PartialEq, Eq)]
struct Secret([u8; 32]);

impl Secret {
    fn random() -> Result<Self, Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|source| Error::Random {
            source: Box::new(source),
        })?;
        Ok(Self(bytes))
    }

    fn parse(text: &str) -> Result<Self, Error> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::InvalidId)?;
        Ok(Self(bytes.try_into().map_err(|_| Error::InvalidId)?))
    }

    fn expose(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }
}

/// The secret that a browser holds for its session: 256 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionId(Secret);

impl SessionId {
    /// Makes a new one.
    ///
    /// # Errors
    /// [`Error::Random`] when the operating system gives no random bytes.
    pub fn random() -> Result<Self, Error> {
        Secret::random().map(Self)
    }

    /// The secret itself, 43 characters of base64url, for the cookie and for nothing else.
    #[must_use]
    pub fn expose(&self) -> String {
        self.0.expose()
    }

    /// What the database knows the session by.
    #[must_use]
    pub fn key(&self) -> SessionKey {
        SessionKey(self.0.sha256())
    }
}

impl FromStr for SessionId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Secret::parse(text).map(Self)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

/// A secret that is shown once and looked for by its hash, and names nothing else.
macro_rules! shown_once {
    ($(#[$meaning:meta])* $name:ident) => {
        $(#[$meaning])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(Secret);

        impl $name {
            /// Makes a new one.
            ///
            /// # Errors
            /// [`Error::Random`] when the operating system gives no random bytes.
            pub fn random() -> Result<Self, Error> {
                Secret::random().map(Self)
            }

            /// The secret itself, 43 characters of base64url, for whom it is meant and for nobody else.
            #[must_use]
            pub fn expose(&self) -> String {
                self.0.expose()
            }

            pub(crate) fn hash(&self) -> String {
                hex::encode(self.0.sha256())
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                Secret::parse(text).map(Self)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

shown_once! {
    /// The secret of a [`Ticket`](crate::Ticket), for one redirect: 256 random bits.
    TicketId
}

shown_once! {
    /// The secret by which a device that asks to be let in (RFC 8628) proves to be the one that asked: 256 random bits.
    DeviceCode
}

/// What personal tokens start with, so that people and scanners know a leaked one when they see it.
const TOKEN_PREFIX: &str = "wst_";

/// The secret of a personal [`Token`](crate::Token): 256 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenId(Secret);

impl TokenId {
    /// Makes a new one.
    ///
    /// # Errors
    /// [`Error::Random`] when the operating system gives no random bytes.
    pub fn random() -> Result<Self, Error> {
        Secret::random().map(Self)
    }

    /// The secret itself, `wst_` and 43 characters of base64url: shown once to its owner, and to nobody else.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{TOKEN_PREFIX}{}", self.0.expose())
    }

    /// What the database knows the token by.
    #[must_use]
    pub fn key(&self) -> TokenKey {
        TokenKey(self.0.sha256())
    }
}

impl FromStr for TokenId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let secret = text.strip_prefix(TOKEN_PREFIX).ok_or(Error::InvalidId)?;
        Secret::parse(secret).map(Self)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenId(..)")
    }
}

/// SHA-256 of a [`SessionId`]: names a session without opening it. Fit for caches and open sockets; keep it
/// out of logs nevertheless.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey([u8; 32]);

impl SessionKey {
    /// The key as text, for forms that end the session; reads back by `parse`.
    #[must_use]
    pub fn to_text(self) -> String {
        hex::encode(self.0)
    }
}

impl FromStr for SessionKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        sha256_from_text(text).map(Self)
    }
}

fn sha256_from_text(text: &str) -> Result<[u8; 32], Error> {
    let mut sha256 = [0; 32];
    hex::decode_to_slice(text, &mut sha256).map_err(|_| Error::InvalidId)?;
    Ok(sha256)
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

/// SHA-256 of a [`TokenId`]: names a token without opening anything. Fit for caches, open sockets and forms; keep it
/// out of logs nevertheless.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    /// The key as text, for forms that revoke the token; reads back by `parse`.
    #[must_use]
    pub fn to_text(self) -> String {
        hex::encode(self.0)
    }
}

impl FromStr for TokenKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        sha256_from_text(text).map(Self)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(..)")
    }
}
