//! Signing in: with a local account, or at the OIDC provider.

mod accounts;
mod attempts;
mod password;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use catalog::{Account, Catalog, NewSession, SessionId, Thing};
use chrono::{TimeDelta, Utc};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use tracing::info;

use crate::audit::note;
use crate::client_address::network;
use crate::error::Error;
use crate::oidc::{Answer, Arrived, Provider};
use crate::session::LocalPath;
use crate::session::cookie::BrowserSecret;
use password::{MAX_PASSWORD, Passwords};

pub(crate) use accounts::ONE_TIME_LIFETIME;
pub(crate) use attempts::Attempts;
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
    provider: Option<Arc<Provider>>,
}

impl SignIn {
    /// Sessions that are made last for `lifetime`.
    ///
    /// # Errors
    /// No random bytes.
    pub(crate) fn new(
        catalog: Catalog,
        lifetime: Duration,
        provider: Option<Arc<Provider>>,
    ) -> Result<Self, Error> {
        let passwords = Passwords::new().map_err(|error| Error::Internal(Box::new(error)))?;
        Ok(Self {
            catalog,
            passwords,
            by_account: Mutex::new(Attempts::new(10, Duration::from_secs(30), REMEMBERED)),
            // Many people can share an address.
            by_address: Mutex::new(Attempts::new(60, Duration::from_secs(5), REMEMBERED)),
            lifetime,
            provider,
        })
    }

    /// Where people can sign in beside here.
    pub(crate) fn provider(&self) -> Option<&Provider> {
        self.provider.as_deref()
    }

    /// Makes a session for whoever comes back from the OIDC provider; answers where they wanted to go, too.
    pub(crate) async fn finish_at_provider(
        &self,
        secret: Option<BrowserSecret>,
        answer: Answer,
        browser: Option<String>,
    ) -> Result<(SessionId, LocalPath), Error> {
        let provider = self.provider().ok_or(Error::NotFound)?;
        let Arrived {
            person,
            session: at_provider,
            next,
        } = provider.finish(secret, answer).await?;
        let account = timeout(PATIENCE, self.catalog.account_of(&person)).await??;
        if account.disabled {
            return Err(Error::AccountDisabled);
        }
        let session = self.new_session(&account.name, browser)?;
        timeout(PATIENCE, self.catalog.create_session(&session)).await??;
        self.tell(&session).await;
        let session = session.id;
        let key = session.key();
        let noted = self.catalog.note_provider_session(&key, &at_provider);
        timeout(PATIENCE, noted).await??;
        Ok((session, next))
    }

    /// Makes a session in `browser` for whoever knows the account's password.
    pub(crate) async fn sign_in(
        &self,
        name: &str,
        password: String,
        (peer, browser): (IpAddr, Option<String>),
    ) -> Result<SessionId, Error> {
        let name = name.trim();
        let account = self.prove(name, password, peer).await?;
        if let Some(expired_at) = account.password_expires_at
            && expired_at <= Utc::now()
        {
            return Err(Error::PasswordExpired);
        }
        let session = self.new_session(name, browser)?;
        let proven = account.password_hash.as_deref().unwrap_or_default();
        let created = self.catalog.create_session_by_password(&session, proven);
        match timeout(PATIENCE, created).await? {
            Ok(()) => {
                self.tell(&session).await;
                Ok(session.id)
            }
            // It was replaced, or the account disabled, in this very moment.
            Err(catalog::Error::SessionGone) => Err(Error::WrongPassword),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes one of the attempts of an address to be let in, which are as many for devices as for passwords.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`].
    pub(crate) fn attempt(&self, peer: IpAddr) -> Result<(), Error> {
        let taken = self.by_address.lock().take(&network(peer), Instant::now());
        taken.map_err(|retry_after| Error::TooManyAttempts { retry_after })
    }

    /// The account, for whoever knows its password.
    async fn prove(&self, name: &str, password: String, peer: IpAddr) -> Result<Account, Error> {
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
        // Who signs in at the provider has no password here, whatever the row says.
        let account = account.filter(|account| !account.disabled && account.subject.is_none());
        let hash = account
            .as_ref()
            .and_then(|account| account.password_hash.clone());
        let matches = self.passwords.verify(password, hash).await?;
        let Some(account) = account.filter(|_| matches) else {
            info!(client.address = %peer, "Refused a sign-in");
            return Err(Error::WrongPassword);
        };
        self.by_address.lock().give_back(&address);
        self.by_account.lock().give_back(&account_key);
        Ok(account)
    }

    /// Tells of a session that is made.
    async fn tell(&self, session: &NewSession) {
        let name = &session.account;
        note(&self.catalog, name, (Thing::Account, name), "signed in").await;
    }

    /// A session for an account that has proved who it is.
    fn new_session(&self, name: &str, browser: Option<String>) -> Result<NewSession, Error> {
        let now = Utc::now();
        let lifetime = TimeDelta::from_std(self.lifetime).unwrap_or(TimeDelta::MAX);
        Ok(NewSession {
            id: SessionId::random()?,
            account: name.to_owned(),
            parent: None,
            host: None,
            browser,
            created_at: now,
            expires_at: now
                .checked_add_signed(lifetime)
                .unwrap_or(chrono::DateTime::<Utc>::MAX_UTC),
        })
    }
}

/// Whether an instance's spec could name its owner like this.
pub(crate) fn is_account_name(name: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    name.len() <= MAX_NAME
        && ends(name.bytes().next())
        && ends(name.bytes().last())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.@+".contains(&byte))
}
