//! Signing in with a local account.

mod attempts;
mod password;

use std::net::IpAddr;
use std::time::Duration;

use catalog::{Catalog, NewSession, SessionId};
use chrono::{TimeDelta, Utc};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use tracing::info;

use crate::client_address::network;
use crate::error::Error;
use attempts::Attempts;
use password::{MAX_PASSWORD, Passwords};

pub(crate) use password::hash as hash_password;

/// Longest name that is looked at, in bytes.
const MAX_NAME: usize = 128;

/// How long one question to the database may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many names and addresses are remembered.
const REMEMBERED: usize = 10_000;

/// Checks names and passwords, and makes sessions.
#[derive(Debug)]
pub(crate) struct SignIn {
    catalog: Catalog,
    passwords: Passwords,
    by_account: Mutex<Attempts<String>>,
    by_address: Mutex<Attempts<IpAddr>>,
    lifetime: Duration,
}

impl SignIn {
    /// Sessions that are made last for `lifetime`.
    ///
    /// # Errors
    /// No random bytes.
    pub(crate) fn new(catalog: Catalog, lifetime: Duration) -> Result<Self, Error> {
        let passwords = Passwords::new().map_err(|error| Error::Internal(Box::new(error)))?;
        Ok(Self {
            catalog,
            passwords,
            by_account: Mutex::new(Attempts::new(10, Duration::from_secs(30), REMEMBERED)),
            // Many people can share an address.
            by_address: Mutex::new(Attempts::new(60, Duration::from_secs(5), REMEMBERED)),
            lifetime,
        })
    }

    /// Makes a session for whoever knows the account's password.
    pub(crate) async fn sign_in(
        &self,
        name: &str,
        password: String,
        peer: IpAddr,
    ) -> Result<SessionId, Error> {
        let name = name.trim();
        if name.is_empty() || name.len() > MAX_NAME || password.len() > MAX_PASSWORD {
            return Err(Error::WrongPassword);
        }
        let address = network(peer);
        let account_key = name.to_lowercase();
        let now = Instant::now();
        let too_many = |retry_after| Error::TooManyAttempts { retry_after };
        self.by_address
            .lock()
            .take(&address, now)
            .map_err(too_many)?;
        self.by_account
            .lock()
            .take(&account_key, now)
            .map_err(too_many)?;

        let account = timeout(PATIENCE, self.catalog.account(name)).await??;
        let hash = account
            .filter(|account| !account.disabled)
            .and_then(|account| account.password_hash);
        if !self.passwords.verify(password, hash).await? {
            info!(client.address = %peer, "Refused a sign-in");
            return Err(Error::WrongPassword);
        }
        self.by_address.lock().give_back(&address);
        self.by_account.lock().give_back(&account_key);

        let now = Utc::now();
        let lifetime = TimeDelta::from_std(self.lifetime).unwrap_or(TimeDelta::MAX);
        let session = NewSession {
            id: SessionId::random()?,
            account: name.to_owned(),
            parent: None,
            host: None,
            created_at: now,
            expires_at: now
                .checked_add_signed(lifetime)
                .unwrap_or(chrono::DateTime::<Utc>::MAX_UTC),
        };
        timeout(PATIENCE, self.catalog.create_session(&session)).await??;
        info!(account.name = name, "Signed in {name}");
        Ok(session.id)
    }
}
