//! Accounts of the store itself: made, changed and given new passwords.

use std::net::IpAddr;

use catalog::{NewAccount, Role, SessionKey, Thing};
use chrono::{TimeDelta, Utc};
use tokio::time::timeout;

use super::password::MAX_PASSWORD;
use super::{PATIENCE, SignIn, is_account_name};
use crate::audit::note;
use crate::error::Error;

/// Shortest password that somebody may choose, in characters.
const MIN_PASSWORD: usize = 12;

/// How long a password is good that an admin passes on.
pub(crate) const ONE_TIME_LIFETIME: TimeDelta = TimeDelta::days(3);

/// Letters of such a password: none looks like another. A power of two, so that all are equally likely.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const ONE_TIME_LENGTH: usize = 20;

impl SignIn {
    /// Gives an account another password, and ends all its sessions but `keep`.
    ///
    /// # Errors
    /// The password now is another one, or the new one will not do.
    pub(crate) async fn change_password(
        &self,
        (name, peer): (&str, IpAddr),
        current: String,
        new: String,
        keep: &SessionKey,
    ) -> Result<(), Error> {
        check_new(name, &current, &new)?;
        self.prove(name, current, peer).await?;
        let hash = self.passwords.hash(new).await?;
        let set = self
            .catalog
            .set_password_hash(name, &hash, None, Some(keep));
        if !timeout(PATIENCE, set).await?? {
            return Err(Error::NotSignedIn);
        }
        let to = (Thing::Account, name);
        note(&self.catalog, name, to, "chose a new password").await;
        Ok(())
    }

    /// Makes an account; answers its one-time password.
    ///
    /// # Errors
    /// The name cannot be one, or is taken.
    pub(crate) async fn create_account(&self, name: &str, role: Role) -> Result<String, Error> {
        if !is_account_name(name) {
            return Err(Error::BadAccountName);
        }
        let password = one_time_password()?;
        let account = NewAccount {
            name: name.to_owned(),
            password_hash: Some(self.passwords.hash(password.clone()).await?),
            password_expires_at: Some(Utc::now() + ONE_TIME_LIFETIME),
            role,
        };
        timeout(PATIENCE, self.catalog.create_account(&account)).await??;
        Ok(password)
    }

    /// Replaces the password of an account by a one-time password, which it answers, and ends all its sessions.
    ///
    /// # Errors
    /// There is no such account, or it signs in at the provider.
    pub(crate) async fn reset_password(&self, name: &str) -> Result<String, Error> {
        let password = one_time_password()?;
        let hash = self.passwords.hash(password.clone()).await?;
        let expires_at = Some(Utc::now() + ONE_TIME_LIFETIME);
        let set = self
            .catalog
            .set_password_hash(name, &hash, expires_at, None);
        if !timeout(PATIENCE, set).await?? {
            return Err(Error::NoAccount);
        }
        Ok(password)
    }
}

fn check_new(name: &str, current: &str, new: &str) -> Result<(), Error> {
    let characters = new.chars().count();
    if characters < MIN_PASSWORD {
        return Err(Error::ShortPassword {
            limit: MIN_PASSWORD,
            characters,
        });
    }
    if new.len() > MAX_PASSWORD {
        return Err(Error::LongPassword {
            limit_bytes: MAX_PASSWORD,
        });
    }
    if new == current || new.to_lowercase().contains(&name.to_lowercase()) {
        return Err(Error::PlainPassword);
    }
    Ok(())
}

fn one_time_password() -> Result<String, Error> {
    let mut bytes = [0; ONE_TIME_LENGTH];
    getrandom::fill(&mut bytes).map_err(|error| Error::Internal(Box::new(error)))?;
    let letters = bytes.map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
    Ok(letters.iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_password_is_long_and_is_neither_the_old_one_nor_the_name() {
        let long = "x".repeat(MAX_PASSWORD + 1);
        let cases = [
            ("correct horse battery", Ok(())),
            ("äöüäöüäöüäöü", Ok(())),
            ("short", Err("ShortPassword")),
            ("", Err("ShortPassword")),
            (long.as_str(), Err("LongPassword")),
            ("the old password", Err("PlainPassword")),
            ("Alice is my name", Err("PlainPassword")),
        ];
        for (new, expected) in cases {
            let checked = check_new("alice", "the old password", new);
            assert_eq!(
                checked.as_ref().map_err(Error::code),
                expected.as_ref().map_err(|code| *code),
                "{new}"
            );
        }
    }

    #[test]
    fn one_time_passwords_differ() {
        let password = one_time_password().expect("random bytes");
        assert_eq!(password.len(), ONE_TIME_LENGTH);
        assert!(password.bytes().all(|letter| ALPHABET.contains(&letter)));
        assert_ne!(password, one_time_password().expect("random bytes"));
    }
}
