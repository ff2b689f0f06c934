//! Passwords: argon2id, a few at a time, with the same work for names that do not exist.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::error::Error;

/// OWASP's parameters for argon2id: memory in KiB, passes, lanes.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Longest password that is looked at, in bytes.
pub(crate) const MAX_PASSWORD: usize = 1024;

/// Passwords that may be checked at once; each takes 19 MiB and a core.
const AT_ONCE: usize = 2;

/// How long a check may wait for its turn.
const TURN: Duration = Duration::from_secs(5);

/// Checks passwords.
#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    /// Hash of a password that nobody knows: a name that does not exist costs the same work.
    decoy: Arc<str>,
}

impl Passwords {
    /// # Errors
    /// No random bytes for the decoy.
    pub(crate) fn new() -> Result<Self, password_hash::Error> {
        let mut unknown = [0; 32];
        getrandom::fill(&mut unknown).map_err(|_| password_hash::Error::Crypto)?;
        let decoy = hash(&unknown)?.into();
        Ok(Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            decoy,
        })
    }

    /// Whether `password` opens the account with this hash; without one the answer is always no.
    pub(crate) async fn verify(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, Error> {
        let turn = tokio::time::timeout(TURN, self.turns.clone().acquire_owned())
            .await
            .map_err(|_| Error::Busy)?
            .expect("the semaphore is never closed");
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.decoy.to_string());
        let matches = tokio::task::spawn_blocking(move || {
            let matches = matches(password.as_bytes(), &hash);
            drop(turn);
            matches
        })
        .await
        .map_err(|error| Error::Internal(Box::new(error)))?;
        Ok(matches && known)
    }
}

/// Hashes a password for an account.
///
/// # Errors
/// No random bytes for the salt.
pub(crate) fn hash(password: &[u8]) -> Result<String, password_hash::Error> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("constants in argon2's range");
    let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password(password)?;
    Ok(hash.to_string())
}

fn matches(password: &[u8], hash: &str) -> bool {
    // The parameters come from the hash itself, so that raising ours keeps old accounts working.
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_opens_its_own_account_only() {
        let passwords = Passwords::new().expect("random bytes");
        let hash = hash(b"correct horse").expect("random bytes");
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        let verify = |password: &str, hash: Option<&String>| {
            passwords.verify(password.to_owned(), hash.cloned())
        };
        assert!(
            verify("correct horse", Some(&hash))
                .await
                .expect("an answer")
        );
        assert!(
            !verify("battery staple", Some(&hash))
                .await
                .expect("an answer")
        );
        assert!(!verify("correct horse", None).await.expect("an answer"));
        assert!(
            !verify("correct horse", Some(&"not a hash".to_owned()))
                .await
                .expect("an answer")
        );
    }
}
