//! Who asks.

use std::sync::Arc;

use catalog::{Role, SessionKey, Subject, TokenKey};
use chrono::{DateTime, Utc};

use crate::grants::Grants;

/// Somebody who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Viewer {
    /// Name of the account.
    pub name: Arc<str>,
    /// What the account may do.
    pub role: Role,
    /// Its roles at the OIDC provider, by name.
    pub roles: Arc<[String]>,
    /// What tags let it do, where that was asked for, as it is for all that has to do with apps: nothing otherwise.
    pub grants: Option<Arc<Grants>>,
}

impl Viewer {
    /// Whether a later look, which asks nothing of tags, has found the same account with the same roles.
    pub(crate) fn is_still(&self, found: &Self) -> bool {
        let Self {
            name,
            role,
            roles,
            grants: _,
        } = self;
        (name, role, roles) == (&found.name, &found.role, &found.roles)
    }

    /// Somebody whom no provider knows.
    #[cfg(test)]
    pub(crate) fn example(name: &str, role: Role) -> Self {
        Self {
            name: name.into(),
            role,
            roles: Arc::default(),
            grants: None,
        }
    }
}

/// A viewer and what proves it.
#[derive(Debug, Clone)]
pub(crate) struct SignedIn {
    /// Who it is.
    pub viewer: Viewer,
    /// What proves it.
    pub credential: Credential,
}

/// What somebody shows to prove who they are. It opens nothing by itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Credential {
    /// The cookie of a session, by the hash of its secret.
    Session(SessionKey),
    /// A personal token, by the hash of its secret.
    Token(TokenKey),
    /// An access token of the OIDC provider.
    Access {
        /// Who was given it.
        subject: Subject,
        /// When it ends.
        expires_at: DateTime<Utc>,
    },
}

impl Credential {
    /// Whether it is a personal token.
    #[must_use]
    pub(crate) fn is_token(&self) -> bool {
        matches!(self, Self::Token(_))
    }

    /// The session, if it is one.
    #[must_use]
    pub(crate) fn session(&self) -> Option<SessionKey> {
        match *self {
            Self::Session(key) => Some(key),
            Self::Token(_) | Self::Access { .. } => None,
        }
    }
}

impl SignedIn {
    /// The session that proves it, if it is one.
    #[must_use]
    pub(crate) fn session(&self) -> Option<SessionKey> {
        self.credential.session()
    }
}
