//! Who asks.

use std::sync::Arc;

use catalog::{Role, SessionKey};

/// Somebody who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Viewer {
    /// Name of the account.
    pub name: Arc<str>,
    /// What the account may do.
    pub role: Role,
}

/// A viewer and the session that proves it.
#[derive(Debug, Clone)]
pub(crate) struct SignedIn {
    /// Who it is.
    pub viewer: Viewer,
    /// The session, by the hash of its secret.
    pub session: SessionKey,
}
