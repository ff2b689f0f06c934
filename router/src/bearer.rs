//! `Authorization: Bearer`: how programs show who sends them, by a personal token or by an access token of the OIDC provider.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use catalog::{Account, Catalog, Scope, Subject, Token, TokenId, TokenKey};
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, HeaderValue, header};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::answers::{Answers, Ends, FRESH, PATIENCE};
use crate::client_address::network;
use crate::error::Error;
use crate::oidc::{Access, Provider};
use crate::sign_in::Attempts;
use crate::viewer::{Credential, SignedIn, Viewer};

/// Bad tokens that one address may show at once, and how often one more. Many people can share an address.
const ATTEMPTS: u32 = 60;
const REFILL: Duration = Duration::from_secs(5);

/// Addresses whose attempts are remembered.
const REMEMBERED: usize = 10_000;

/// How stale a token's last use may get in the database.
const TOUCH_AFTER: TimeDelta = TimeDelta::minutes(1);

/// The tokens in force.
#[derive(Debug)]
pub(crate) struct Bearers {
    catalog: Catalog,
    provider: Option<Arc<Provider>>,
    tokens: Answers<TokenKey, Token>,
    /// Accounts of people who show tokens of the provider.
    people: Answers<Subject, Account>,
    by_address: Mutex<Attempts<IpAddr>>,
}

impl Ends for Token {
    fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.expires_at <= now
    }
}

impl Ends for Account {
    fn is_over(&self, _: DateTime<Utc>) -> bool {
        false
    }
}

/// The token in a request's headers. One that nobody could have been given stands for whatever is shown in a way that is
/// not clear: it must not count as no token, since then a cookie would.
#[must_use]
pub(crate) fn shown(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::AUTHORIZATION);
    let mut tokens = lines.iter().filter_map(token);
    let first = tokens.next()?;
    Some(if tokens.next().is_none() { first } else { "" })
}

fn token(line: &HeaderValue) -> Option<&str> {
    let line = line.as_bytes();
    let (scheme, rest) = line.split_at_checked("Bearer".len())?;
    let ends = rest.first().is_none_or(u8::is_ascii_whitespace);
    (ends && scheme.eq_ignore_ascii_case(b"Bearer"))
        .then(|| str::from_utf8(rest.trim_ascii()).unwrap_or_default())
}

impl Bearers {
    /// Tokens as `catalog` knows them, and those of `provider`.
    #[must_use]
    pub(crate) fn new(catalog: Catalog, provider: Option<Arc<Provider>>) -> Self {
        Self {
            catalog,
            provider,
            tokens: Answers::new(),
            people: Answers::new(),
            by_address: Mutex::new(Attempts::new(ATTEMPTS, REFILL, REMEMBERED)),
        }
    }

    /// Who shows this token from `peer`, to use it for `scope`.
    ///
    /// # Errors
    /// [`Error::InvalidToken`] for a token that is not in force, [`Error::InsufficientScope`] for one that is for something
    /// else, [`Error::TooManyAttempts`] after too many bad ones from an address, and [`Error::CatalogAway`] or
    /// [`Error::ProviderAway`] when nobody can say and the token was not seen lately.
    pub(crate) async fn signed_in(
        &self,
        token: &str,
        scope: Scope,
        peer: IpAddr,
    ) -> Result<SignedIn, Error> {
        let signed_in = match token.parse::<TokenId>() {
            Ok(id) => self.by_token(id.key(), scope, peer).await,
            // Boxed, like what is asked below: few requests need so much room.
            Err(_) => Box::pin(self.by_access(token, peer)).await,
        };
        if matches!(signed_in, Err(Error::InvalidToken)) {
            // There may be none left: what others from there have tried at the same time has used them up.
            let _ = self.by_address.lock().take(&network(peer), Instant::now());
            info!(client.address = %peer, "Refused a token");
        }
        signed_in
    }

    /// Refuses what is not known here from an address that has shown too many bad tokens.
    fn limit(&self, peer: IpAddr) -> Result<(), Error> {
        self.by_address
            .lock()
            .check(&network(peer), Instant::now())
            .map_err(|retry_after| Error::TooManyAttempts { retry_after })
    }

    async fn by_token(&self, key: TokenKey, scope: Scope, peer: IpAddr) -> Result<SignedIn, Error> {
        if !self.tokens.knows(&key) {
            self.limit(peer)?;
        }
        let token = self.token(key).await?.ok_or(Error::InvalidToken)?;
        if !token.scopes.contains(&scope) {
            return Err(Error::InsufficientScope(scope));
        }
        Ok(SignedIn {
            viewer: viewer_of_token(&token),
            credential: Credential::Token(key),
        })
    }

    /// The token, if it is in force.
    ///
    /// # Errors
    /// [`Error::CatalogAway`] when the database is away and the token was not seen lately.
    pub(crate) async fn token(&self, key: TokenKey) -> Result<Option<Arc<Token>>, Error> {
        let ask = || async {
            let tokens = self.ask_tokens(&[key]).await?;
            Ok(tokens.into_iter().next())
        };
        self.tokens.get(&key, FRESH, ask).await
    }

    /// Learns of the personal tokens that were made or used since then. What the provider signs needs no database to be known.
    pub(crate) async fn learn(&self, since: DateTime<Utc>) -> Result<(), Error> {
        let at = Instant::now();
        let used = self.catalog.tokens_used_since(since, Utc::now());
        for token in timeout(PATIENCE, used).await?? {
            let key = token.key;
            self.tokens.learn(&key, token, at);
        }
        Ok(())
    }

    async fn ask_tokens(&self, keys: &[TokenKey]) -> Result<Vec<Token>, Error> {
        let now = Utc::now();
        let tokens = timeout(PATIENCE, self.catalog.tokens(keys, now)).await??;
        let unused = |at: DateTime<Utc>| now - at >= TOUCH_AFTER;
        let stale: Vec<TokenKey> = tokens
            .iter()
            .filter(|token| token.last_used_at.is_none_or(unused))
            .map(|token| token.key)
            .collect();
        if !stale.is_empty() {
            let touched = timeout(PATIENCE, self.catalog.touch_tokens(&stale, now)).await;
            if let Ok(Err(error)) = touched {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not note the use of tokens"
                );
            }
        }
        Ok(tokens)
    }

    async fn by_access(&self, token: &str, peer: IpAddr) -> Result<SignedIn, Error> {
        let Some(provider) = &self.provider else {
            self.limit(peer)?;
            return Err(Error::InvalidToken);
        };
        let access = if let Some(access) = provider.known_access(token).await {
            access
        } else {
            self.limit(peer)?;
            provider.access(token).await?
        };
        if access.expires_at <= Utc::now() {
            return Err(Error::InvalidToken);
        }
        let ask = || self.account_of(&access);
        let account = self.people.get(&access.subject, FRESH, ask).await?;
        let account = account.ok_or(Error::InvalidToken)?;
        Ok(SignedIn {
            viewer: viewer_of_account(&account),
            credential: Credential::Access {
                subject: access.subject.clone(),
                expires_at: access.expires_at,
            },
        })
    }

    /// The account of somebody who shows a token of the provider, brought up to date by what that says and made when there
    /// is none; none while it is disabled.
    async fn account_of(&self, access: &Access) -> Result<Option<Account>, Error> {
        let known = self.catalog.account_by_subject(&access.subject);
        let account = match timeout(PATIENCE, known).await?? {
            // A token that says nothing about roles is no news.
            Some(account) if access.roles.is_none() => account,
            known => {
                let name = known.map(|account| account.name);
                let name = name.or_else(|| access.name.clone()).ok_or(Error::NoName)?;
                let person = access.person(name);
                timeout(PATIENCE, self.catalog.account_of(&person)).await??
            }
        };
        Ok((!account.disabled).then_some(account))
    }

    /// Who is behind each of these tokens, where it is in force, by answers that are at most `max_age` old.
    pub(crate) async fn viewers(
        &self,
        credentials: &HashSet<Credential>,
        max_age: Duration,
    ) -> HashMap<Credential, Viewer> {
        let keys = credentials
            .iter()
            .filter_map(|credential| match credential {
                Credential::Token(key) => Some(*key),
                Credential::Session(_) | Credential::Access { .. } => None,
            })
            .collect();
        let ask = |keys: Vec<TokenKey>| async move {
            let tokens = self.ask_tokens(&keys).await?;
            Ok(tokens.into_iter().map(|token| (token.key, token)).collect())
        };
        let tokens = self.tokens.recheck(keys, max_age, ask).await;

        let now = Utc::now();
        let in_force: Vec<(&Credential, &Subject)> = credentials
            .iter()
            .filter_map(|credential| match credential {
                Credential::Access {
                    subject,
                    expires_at,
                } if *expires_at > now => Some((credential, subject)),
                Credential::Access { .. } | Credential::Session(_) | Credential::Token(_) => None,
            })
            .collect();
        let subjects: HashSet<Subject> = in_force
            .iter()
            .map(|(_, subject)| (*subject).clone())
            .collect();
        let ask = |subjects: Vec<Subject>| self.ask_people(subjects);
        let people = self.people.recheck(subjects, max_age, ask).await;

        let of_tokens = tokens
            .into_iter()
            // What it may be used for never changes.
            .map(|(key, token)| (Credential::Token(key), viewer_of_token(&token)));
        let of_people = in_force.into_iter().filter_map(|(credential, subject)| {
            let account = people.get(subject)?;
            Some((credential.clone(), viewer_of_account(account)))
        });
        of_tokens.chain(of_people).collect()
    }

    async fn ask_people(&self, subjects: Vec<Subject>) -> Result<Vec<(Subject, Account)>, Error> {
        let accounts = self.catalog.accounts_by_subject(&subjects);
        let accounts = timeout(PATIENCE, accounts).await??;
        Ok(accounts
            .into_iter()
            .filter(|account| !account.disabled)
            .filter_map(|account| Some((account.subject.clone()?, account)))
            .collect())
    }
}

fn viewer_of_token(token: &Token) -> Viewer {
    Viewer {
        name: token.account.as_str().into(),
        role: token.role,
        roles: token.roles.clone(),
        grants: None,
    }
}

fn viewer_of_account(account: &Account) -> Viewer {
    Viewer {
        name: account.name.as_str().into(),
        role: account.role,
        roles: account.roles.as_slice().into(),
        grants: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_from_its_header_and_from_nowhere_else() {
        type Lines<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Lines<'_>, Option<&str>); 12] = [
            (&[], None),
            (&[("authorization", "Bearer abc")], Some("abc")),
            (&[("authorization", "bEARER   abc ")], Some("abc")),
            (&[("authorization", "Bearer\tabc")], Some("abc")),
            (&[("authorization", "Bearer")], Some("")),
            (&[("authorization", "Bearerabc")], None),
            (&[("authorization", "Basic abc")], None),
            (&[("authorization", "Bear")], None),
            (&[("authorization", "Bearer \u{e4}")], Some("\u{e4}")),
            (&[("proxy-authorization", "Bearer abc")], None),
            (
                &[
                    ("authorization", "Basic x"),
                    ("authorization", "Bearer abc"),
                ],
                Some("abc"),
            ),
            (
                &[
                    ("authorization", "Bearer abc"),
                    ("authorization", "Bearer abc"),
                ],
                Some(""),
            ),
        ];
        for (lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                let name: http::HeaderName = name.parse().expect("a name");
                let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
                headers.append(name, value);
            }
            assert_eq!(shown(&headers), expected, "{lines:?}");
        }
    }
}
