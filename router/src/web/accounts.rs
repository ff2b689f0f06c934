//! What admins do with everybody's accounts, by the page and by the API alike.

use catalog::{Account, AccountChange, Thing};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::timeout;

use super::if_match::{self, IfMatch};
use super::{PATIENCE, Store, Visitor, again};
use crate::error::Error;
use crate::sign_in::{ONE_TIME_LIFETIME, is_account_name};

/// What names of accounts are.
pub(super) const NAME_PATTERN: &str = "^[A-Za-z0-9]([-A-Za-z0-9_.@+]*[A-Za-z0-9])?$";

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    /// Runs apps for visitors; publishes nothing.
    Visitor,
    /// Publishes and runs apps.
    Full,
    /// Manages everything.
    Admin,
}

impl From<catalog::Role> for Role {
    fn from(role: catalog::Role) -> Self {
        match role {
            catalog::Role::Visitor => Self::Visitor,
            catalog::Role::Full => Self::Full,
            catalog::Role::Admin => Self::Admin,
        }
    }
}

impl From<Role> for catalog::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Visitor => Self::Visitor,
            Role::Full => Self::Full,
            Role::Admin => Self::Admin,
        }
    }
}

/// An account that is to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewAccount {
    /// Its name.
    #[schemars(
        length(max = 128),
        regex(pattern = NAME_PATTERN)
    )]
    pub name: String,
    /// What it may do.
    pub role: Role,
}

/// What is to become of an account; what is not named stays.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "AccountChange")]
pub(super) struct Change {
    /// What it may do. Of whoever signs in at the OIDC provider that says.
    #[serde(default)]
    pub role: Option<Role>,
    /// Whether it is kept from signing in. Its sessions end, and its tokens are not in force meanwhile.
    #[serde(default)]
    pub disabled: Option<bool>,
}

/// A password to be passed on, which is good for one sign-in, and told once.
pub(super) struct OneTimePassword {
    pub secret: String,
    pub expires_at: DateTime<Utc>,
}

impl OneTimePassword {
    fn new(secret: String) -> Self {
        Self {
            secret,
            expires_at: Utc::now() + ONE_TIME_LIFETIME,
        }
    }
}

/// Accounts by name, after one of them, at most so many.
pub(super) async fn list(
    store: &Store,
    after: Option<&str>,
    limit: u64,
) -> Result<Vec<Account>, Error> {
    if after.is_some_and(|after| !is_account_name(after)) {
        return Err(Error::BadRequest("`after` is the name of an account"));
    }
    let accounts = store.catalog.accounts(after.unwrap_or_default(), limit);
    Ok(timeout(PATIENCE, accounts).await??)
}

/// The account of this name.
pub(super) async fn find(store: &Store, name: &str) -> Result<Account, Error> {
    if !is_account_name(name) {
        return Err(Error::NoAccount);
    }
    let account = timeout(PATIENCE, store.catalog.account(name)).await??;
    account.ok_or(Error::NoAccount)
}

/// Makes an account, and its one-time password.
pub(super) async fn create(
    store: &Store,
    visitor: &Visitor,
    new: &NewAccount,
) -> Result<OneTimePassword, Error> {
    let NewAccount { name, role } = new;
    let role = catalog::Role::from(*role);
    let password = store.sign_in.create_account(name, role).await?;
    let done = format!("made the account {name}: {role}");
    visitor.did(store, (Thing::Account, name), &done).await?;
    Ok(OneTimePassword::new(password))
}

/// Changes an account; answers it as it is then.
pub(super) async fn change(
    store: &Store,
    visitor: &Visitor,
    name: &str,
    change: &Change,
    if_match: &IfMatch,
) -> Result<Account, Error> {
    again(|| async {
        let before = find(store, name).await?;
        if_match.check_state(&state(&before))?;
        let role = change.role.map(catalog::Role::from);
        let news = AccountChange {
            role: role.filter(|role| *role != before.role),
            disabled: change.disabled.filter(|to| *to != before.disabled),
        };
        if news == AccountChange::default() {
            return Ok(before);
        }
        let changed = store.catalog.change_account(name, news, Some(&before));
        if !timeout(PATIENCE, changed).await?? {
            return Err(Error::Overtaken);
        }
        if let Some(role) = news.role {
            let done = format!("gave the account {name} the role {role}");
            visitor.did(store, (Thing::Account, name), &done).await?;
        }
        if let Some(disabled) = news.disabled {
            let done = if disabled {
                format!("disabled the account {name}")
            } else {
                format!("let the account {name} sign in again")
            };
            visitor.did(store, (Thing::Account, name), &done).await?;
        }
        Ok(Account {
            role: news.role.unwrap_or(before.role),
            disabled: news.disabled.unwrap_or(before.disabled),
            ..before
        })
    })
    .await
}

/// Gives an account a one-time password in place of its own, and ends its sessions and its tokens.
pub(super) async fn reset_password(
    store: &Store,
    visitor: &Visitor,
    name: &str,
) -> Result<OneTimePassword, Error> {
    let password = store.sign_in.reset_password(name).await?;
    let done = format!("gave the account {name} a one-time password");
    visitor.did(store, (Thing::Account, name), &done).await?;
    Ok(OneTimePassword::new(password))
}

/// Names the state of an account: the same for the same content.
pub(super) fn state(account: &Account) -> String {
    let Account {
        name,
        password_hash,
        password_expires_at,
        role,
        disabled,
        subject,
        roles,
        roles_as_of: _,
    } = account;
    // Of a hash of a password nothing is told, be it hashed once more.
    let has_password = password_hash.is_some();
    let subject = subject.as_ref();
    let subject = subject.map(|subject| (&subject.issuer, &subject.subject));
    let ends = password_expires_at.map(|at| at.timestamp_millis());
    if_match::state_by_content(&json!([
        name,
        has_password,
        ends,
        role.to_string(),
        disabled,
        subject,
        roles
    ]))
}
