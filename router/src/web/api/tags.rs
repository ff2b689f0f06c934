//! Tags, for programs.

use catalog::Tag;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::timeout;

use super::super::if_match::{self, IfMatch};
use super::super::tags::{self, Wanted};
use super::super::{Call, PATIENCE, Reply, Store, Visitor};
use super::{document_with_lists, done, json, limit, page_by_name, set_at};
use crate::error::Error;

/// What the store knows of a tag.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Tag")]
pub(super) struct Told<'a> {
    name: &'a str,
    title: &'a str,
    color: String,
    description: &'a str,
    /// Roles that see and manage the apps that have it.
    admin_roles: &'a [String],
    /// Roles whose visitors see and run the apps that have it.
    visitor_roles: &'a [String],
}

impl<'a> Told<'a> {
    fn new(tag: &'a Tag) -> Self {
        let Tag {
            name,
            title,
            color,
            description,
            admin_roles,
            visitor_roles,
        } = tag;
        Self {
            name,
            title,
            color: color.to_string(),
            description,
            admin_roles,
            visitor_roles,
        }
    }
}

/// The tags that the store knows, by name.
pub(in crate::web) async fn list(store: &Store, call: &Call) -> Result<Reply, Error> {
    let limit = limit(call)?;
    let all = timeout(PATIENCE, store.catalog.tags()).await??;
    json(&page_by_name(call, limit, &all, |tag| &tag.name, Told::new))
}

/// One tag.
pub(in crate::web) async fn get(store: &Store, call: &Call) -> Result<Reply, Error> {
    one(&tags::find(store, call.last_segment()).await?)
}

/// Makes a tag, or changes it.
pub(in crate::web) async fn set(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    body: &[u8],
) -> Result<Reply, Error> {
    let wanted: Wanted = document_with_lists(body, &Wanted::LISTS)?;
    let if_match = IfMatch::of(&call.headers);
    let name = call.last_segment();
    let (now, is_new) = tags::set(store, visitor, name, &wanted, &if_match).await?;
    set_at(one(&now)?, is_new, format!("/api/v1/tags/{name}"))
}

/// Forgets a tag.
pub(in crate::web) async fn delete(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
) -> Result<Reply, Error> {
    let if_match = IfMatch::of(&call.headers);
    tags::delete(store, visitor, call.last_segment(), &if_match).await?;
    Ok(done())
}

fn one(tag: &Tag) -> Result<Reply, Error> {
    if_match::tag_as(json(&Told::new(tag))?, &tags::state(tag))
}
