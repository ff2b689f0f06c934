//! Passwords: argon2id, a few at a time, with the same work for names that do not exist.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::Semaphore;

use crate::error::Error;

/// OWASP's parameters for argon2id: memory in KiB, passes, lanes.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Room that is asked for, in blocks of 1 KiB, though only `MEMORY_KIB` of it is touched. glibc gives pieces of more
/// than 32 MiB back to the system when they are freed; smaller ones it keeps, one for each thread that ever hashed.
const ROOM_BLOCKS: usize = 33 * 1024;

/// Length of a salt.
const SALT_BYTES: usize = 16;

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
        getrandom::fill(&mut unknown).map_err(|_| password_hash::Error::RngFailure)?;
        let decoy = hash(&unknown)?.into();
        Ok(Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            decoy,
        })
    }

    /// Hashes a password.
    pub(crate) async fn hash(&self, password: String) -> Result<String, Error> {
        let hash = self.take_turn(move || hash(password.as_bytes())).await?;
        hash.map_err(|error| Error::Internal(Box::new(error)))
    }

    /// Whether `password` opens the account with this hash; without one the answer is always no.
    pub(crate) async fn verify(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, Error> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.decoy.to_string());
        let matches = self
            .take_turn(move || matches(password.as_bytes(), &hash))
            .await?;
        Ok(matches && known)
    }

    /// Does argon2's work, with no more than `AT_ONCE` others.
    async fn take_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let turn = tokio::time::timeout(TURN, self.turns.clone().acquire_owned())
            .await
            .map_err(|_| Error::Busy)?
            .expect("the semaphore is never closed");
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        })
        .await
        .map_err(|error| Error::Internal(Box::new(error)))
    }
}

/// Hashes a password for an account.
///
/// # Errors
/// No random bytes for the salt.
pub(crate) fn hash(password: &[u8]) -> Result<String, password_hash::Error> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("constants in argon2's range");
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|_| password_hash::Error::RngFailure)?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params)?,
        salt: Some(Salt::new(&salt)?),
        hash: None,
    };
    let output = derive(password, &hash, params)?;
    Ok(PasswordHash {
        hash: Some(output),
        ..hash
    }
    .to_string())
}

fn matches(password: &[u8], hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else {
        return false;
    };
    // The parameters come from the hash itself, so that raising ours keeps old accounts working.
    let derived = Params::try_from(&hash).and_then(|params| derive(password, &hash, params));
    // Comparing outputs takes the same time wherever they differ.
    derived.is_ok_and(|derived| hash.hash.as_ref() == Some(&derived))
}

/// Does argon2's work with the algorithm, version and salt of `hash`.
fn derive(
    password: &[u8],
    hash: &PasswordHash,
    params: Params,
) -> Result<Output, password_hash::Error> {
    let algorithm = Algorithm::try_from(hash.algorithm.as_str())?;
    let version = hash.version.map(Version::try_from).transpose()?;
    let salt = hash
        .salt
        .as_ref()
        .ok_or(password_hash::Error::SaltInvalid)?;
    let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    let blocks = params.block_count();
    let mut memory = Vec::with_capacity(blocks.max(ROOM_BLOCKS));
    memory.resize(blocks, Block::default());
    let mut output = vec![0; length];
    Argon2::new(algorithm, version.unwrap_or_default(), params).hash_password_into_with_memory(
        password,
        salt,
        &mut output,
        &mut memory,
    )?;
    Ok(Output::new(&output)?)
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
        // Made by argon2's own code, with other parameters.
        let foreign =
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        assert!(matches(b"password", foreign));
        assert!(!matches(b"passwort", foreign));
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
