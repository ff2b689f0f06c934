//! Access tokens of the provider (RFC 9068), with which programs come here.

use std::sync::Arc;

use catalog::{Person, Role, Subject};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Provider;
use super::jwt::{self, Refused};
use crate::error::Error;

/// Claims that only ID tokens have, or logout tokens: none of them is meant to be shown here.
const OF_OTHERS: [&str; 5] = ["nonce", "at_hash", "c_hash", "s_hash", "events"];

/// What an access token says that is good here.
#[derive(Debug)]
pub(crate) struct Access {
    /// Who shows it.
    pub(crate) subject: Subject,
    /// The name for a new account.
    pub(crate) name: Option<String>,
    /// Their roles at the provider; none when it says nothing about them.
    pub(crate) roles: Option<Vec<String>>,
    /// When it ends.
    pub(crate) expires_at: DateTime<Utc>,
    role: Role,
    issued_at: DateTime<Utc>,
}

impl Access {
    /// What it says about the one who shows it, whose account is called `name`.
    pub(crate) fn person(&self, name: String) -> Person {
        Person {
            subject: self.subject.clone(),
            name,
            role: self.role,
            roles: self.roles.clone().unwrap_or_default(),
            as_of: self.issued_at,
        }
    }
}

/// What a checked token is remembered by: the token itself opens too much.
pub(super) type AccessKey = [u8; 32];

impl Provider {
    /// What a token says that was checked lately.
    pub(crate) async fn known_access(&self, token: &str) -> Option<Arc<Access>> {
        self.checked.get(&key(token)).await
    }

    /// Checks an access token: signature, kind, issuer, audience and time.
    ///
    /// # Errors
    /// [`Error::InvalidToken`] when it is not good here, [`Error::ProviderAway`] when the provider's keys are not known.
    pub(crate) async fn access(&self, token: &str) -> Result<Arc<Access>, Error> {
        let audience = self.settings.audience.as_deref();
        let audience = audience.ok_or(Error::InvalidToken)?;
        let claims = match self.signed_claims(&["at+jwt"], token).await {
            Err(Error::TokenRefused(_)) => return Err(Error::InvalidToken),
            other => other?,
        };
        let access = self
            .read_access(&claims, audience, Utc::now())
            .map(Arc::new)
            .map_err(|_| Error::InvalidToken)?;
        self.checked.insert(key(token), access.clone()).await;
        Ok(access)
    }

    fn read_access(
        &self,
        claims: &Value,
        audience: &str,
        now: DateTime<Utc>,
    ) -> Result<Access, Refused> {
        let issuer = self.settings.issuer.as_str();
        let expires_at = jwt::check(claims, issuer, audience, now)?.ok_or(Refused::Claims)?;
        let issued_at = jwt::time(claims, "iat")?.ok_or(Refused::Claims)?;
        let subject = jwt::text(claims, "sub").ok_or(Refused::Claims)?;
        if !is_access(claims) {
            return Err(Refused::Claims);
        }
        let people = &self.settings.people;
        let roles = people.roles(&[claims]);
        Ok(Access {
            subject: Subject {
                issuer: issuer.to_owned(),
                subject: subject.to_owned(),
            },
            name: people.name(&[claims]).map(str::to_owned),
            role: people.role(roles.as_deref().unwrap_or_default()),
            roles,
            expires_at,
            issued_at,
        })
    }
}

/// Whether nothing in these claims says that they are another kind of token's.
fn is_access(claims: &Value) -> bool {
    // Keycloak says what a token is in a claim, too.
    let kind = jwt::text(claims, "typ");
    kind.is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"))
        && OF_OTHERS.iter().all(|name| claims.get(name).is_none())
}

fn key(token: &str) -> AccessKey {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn other_tokens_are_told_from_access_tokens() {
        let cases = [
            ("plain", json!({ "sub": "1" }), true),
            ("Keycloak's access token", json!({ "typ": "Bearer" }), true),
            ("Keycloak's ID token", json!({ "typ": "ID" }), false),
            (
                "Keycloak's refresh token",
                json!({ "typ": "Refresh" }),
                false,
            ),
            ("an ID token with a nonce", json!({ "nonce": "n" }), false),
            ("an ID token with a hash", json!({ "at_hash": "h" }), false),
            (
                "an ID token of the hybrid flow",
                json!({ "c_hash": null }),
                false,
            ),
            ("a logout token", json!({ "events": {} }), false),
        ];
        for (name, claims, expected) in cases {
            assert_eq!(is_access(&claims), expected, "{name}");
        }
    }
}
