//! One's own tokens, for programs.

use std::collections::BTreeSet;

use catalog::{NewToken, Scope, Token};
use http::StatusCode;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::super::tokens::{self, Wanted};
use super::super::{Call, Reply, Store, Visitor};
use super::{Page, document_with_lists, done, json, limit, located, moment, page_by_name};
use crate::error::Error;

/// A token, without its secret.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Token")]
pub(super) struct Told<'a> {
    /// What names it in addresses. It opens nothing.
    id: String,
    name: &'a str,
    /// `instances` and `store`.
    #[schemars(with = "Vec<String>")]
    scopes: &'a BTreeSet<Scope>,
    created_at: String,
    expires_at: String,
    /// When it was last used, to the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
}

impl<'a> Told<'a> {
    fn new(token: &'a Token) -> Self {
        Self {
            id: token.key.to_text(),
            name: &token.name,
            scopes: &token.scopes,
            created_at: moment(token.created_at),
            expires_at: moment(token.expires_at),
            last_used_at: token.last_used_at.map(moment),
        }
    }
}

/// A token that was just made.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "MadeToken")]
pub(in crate::web) struct Made {
    /// What names it in addresses.
    id: String,
    name: String,
    /// The token itself: told here, and never again.
    token: String,
    expires_at: String,
}

impl Made {
    /// Tells of it.
    pub(in crate::web) fn new(token: &NewToken) -> Self {
        Self {
            id: token.id.key().to_text(),
            name: token.name.clone(),
            token: token.id.expose(),
            expires_at: moment(token.expires_at),
        }
    }
}

/// A token that is to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewToken")]
pub(super) struct New {
    /// What its owner calls it.
    #[schemars(
        length(min = 1, max = 64),
        regex(pattern = r"^[^\x00-\x20\x7f-\x9f]+$")
    )]
    name: String,
    /// What it is good for: `instances` (entering one's instances), `store` (this API).
    #[schemars(
        with = "Vec<String>",
        length(min = 1),
        inner(regex(pattern = "^(instances|store)$"))
    )]
    scopes: BTreeSet<Scope>,
    /// For how many days.
    #[serde(deserialize_with = "whole")]
    #[schemars(range(min = 1, max = 365))]
    days: u16,
}

/// A whole number, which JSON Schema lets everybody write as `30.0` (2020-12, 6.1.1), and serde does not.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?.to_string();
    let digits = number.strip_suffix(".0").unwrap_or(&number);
    let whole = digits.parse();
    whole.map_err(|_| D::Error::custom(format!("`{number}` is no whole number from 0 to 65535")))
}

/// The tokens of whoever asks, by name.
pub(in crate::web) async fn list(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
) -> Result<Reply, Error> {
    let limit = limit(call)?;
    let mut all = tokens::list(store, visitor).await?;
    // The database may order letters otherwise.
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let page: Page<Told<'_>> = page_by_name(call, limit, &all, |token| &token.name, Told::new);
    json(&page)
}

/// Makes a token.
pub(in crate::web) async fn create(
    store: &Store,
    visitor: &Visitor,
    body: &[u8],
) -> Result<Reply, Error> {
    let New { name, scopes, days } = document_with_lists(body, &["scopes"])?;
    let wanted = Wanted {
        name: &name,
        scopes,
        days,
    };
    let token = tokens::create(store, visitor, wanted).await?;
    let made = Made::new(&token);
    let path = format!("/api/v1/tokens/{}", made.id);
    located(json(&made)?, StatusCode::CREATED, path)
}

/// Revokes a token.
pub(in crate::web) async fn revoke(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
) -> Result<Reply, Error> {
    let key = call.last_segment().parse().map_err(|_| Error::NotFound)?;
    if tokens::revoke(store, visitor, &key).await? {
        Ok(done())
    } else {
        Err(Error::NotFound)
    }
}
