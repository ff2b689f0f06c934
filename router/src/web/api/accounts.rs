//! Everybody's accounts, for programs of admins.

use catalog::Account;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::accounts::{self, Change, NewAccount, OneTimePassword, Role};
use super::super::if_match::{self, IfMatch};
use super::super::{Call, Reply, Store, Visitor};
use super::{document, json, limit, located, moment, page_of};
use crate::error::Error;

/// An account.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "StoreAccount")]
pub(super) struct Told<'a> {
    name: &'a str,
    role: Role,
    /// Whether it is kept from signing in.
    disabled: bool,
    /// The OIDC provider where it signs in, which says its role; none when it has a password here.
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    /// Its roles there.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    roles: &'a [String],
    /// When its one-time password ends, while it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    password_expires_at: Option<String>,
}

impl<'a> Told<'a> {
    fn new(account: &'a Account) -> Self {
        let subject = account.subject.as_ref();
        Self {
            name: &account.name,
            role: account.role.into(),
            disabled: account.disabled,
            issuer: subject.map(|subject| &*subject.issuer),
            roles: &account.roles,
            password_expires_at: account.password_expires_at.map(moment),
        }
    }
}

/// A password that is told once.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OneTimePassword")]
pub(super) struct OneTime<'a> {
    /// The account.
    name: &'a str,
    /// To be passed on: its owner chooses another one after the first sign-in.
    password: String,
    /// When it ends.
    password_expires_at: String,
}

impl<'a> OneTime<'a> {
    fn new(name: &'a str, password: OneTimePassword) -> Self {
        let OneTimePassword { secret, expires_at } = password;
        Self {
            name,
            password: secret,
            password_expires_at: moment(expires_at),
        }
    }
}

/// What is asked for has no fields.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoFields {}

/// Accounts by name.
pub(in crate::web) async fn list(store: &Store, call: &Call) -> Result<Reply, Error> {
    let limit = limit(call)?;
    let after = call.parameter("after");
    let one_more = u64::try_from(limit + 1).unwrap_or(u64::MAX);
    let found = accounts::list(store, after.as_deref(), one_more).await?;
    json(&page_of(call, limit, &found, |it| &it.name, Told::new))
}

/// One account.
pub(in crate::web) async fn get(store: &Store, call: &Call) -> Result<Reply, Error> {
    one(&accounts::find(store, call.last_segment()).await?)
}

/// Makes an account.
pub(in crate::web) async fn create(
    store: &Store,
    visitor: &Visitor,
    body: &[u8],
) -> Result<Reply, Error> {
    let new: NewAccount = document(body)?;
    let password = accounts::create(store, visitor, &new).await?;
    let reply = json(&OneTime::new(&new.name, password))?;
    let path = format!("/api/v1/accounts/{}", new.name);
    located(reply, StatusCode::CREATED, path)
}

/// Changes an account.
pub(in crate::web) async fn change(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    body: &[u8],
) -> Result<Reply, Error> {
    let change: Change = document(body)?;
    let if_match = IfMatch::of(&call.headers);
    let name = call.last_segment();
    one(&accounts::change(store, visitor, name, &change, &if_match).await?)
}

/// Gives an account a one-time password.
pub(in crate::web) async fn reset_password(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    body: &[u8],
) -> Result<Reply, Error> {
    let NoFields {} = document(body)?;
    let name = call.segment_before_last();
    let password = accounts::reset_password(store, visitor, name).await?;
    json(&OneTime::new(name, password))
}

fn one(account: &Account) -> Result<Reply, Error> {
    if_match::tag_as(json(&Told::new(account))?, &accounts::state(account))
}
