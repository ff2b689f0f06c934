//! Aliases, for programs.

use crds::{ConditionType, WaveAlias, find_condition, holds};
use kube::ResourceExt;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::aliases::{self, Wanted};
use super::super::if_match::{self, IfMatch};
use super::super::{Call, Reply, Store, Visitor};
use super::{Page, accepted, created_at, document, json, limit, rest_of, set_at};
use crate::error::Error;

/// One alias.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alias<'a> {
    name: String,
    instance: &'a str,
    primary: bool,
    /// A host of its own, which those who run the cluster give it.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    /// Whether it leads to its instance.
    ready: bool,
    /// Why.
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
}

impl<'a> Alias<'a> {
    fn new(object: &'a WaveAlias) -> Self {
        let status = object.status.as_ref();
        let conditions = || status.iter().flat_map(|status| &status.conditions);
        let ready = find_condition(conditions(), ConditionType::Ready);
        Self {
            name: object.name_any(),
            instance: &object.spec.instance,
            primary: object.spec.primary,
            host: object.spec.host.as_deref(),
            ready: holds(conditions(), ConditionType::Ready),
            message: ready.map_or("", |ready| &ready.message),
            url: status.and_then(|status| status.url.as_deref()),
            created_at: created_at(object),
        }
    }
}

/// The aliases of instances that the visitor manages, and for admins all. A piece of the list may have fewer than it could.
pub(in crate::web) async fn list(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
) -> Result<Reply, Error> {
    let limit = limit(call)?;
    let after = call.parameter("after");
    let (found, rest) = aliases::list(store, visitor, limit, after.as_deref()).await?;
    let next = rest.map(|rest| rest_of("/api/v1/aliases", &rest, limit, &[]));
    json(&Page {
        items: found.iter().map(Alias::new).collect(),
        next,
    })
}

/// One alias.
pub(in crate::web) async fn get(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
) -> Result<Reply, Error> {
    let found = aliases::find(store, visitor, call.last_segment()).await?;
    one(&found)
}

/// Makes an alias, or lets it lead elsewhere.
pub(in crate::web) async fn set(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    body: &[u8],
) -> Result<Reply, Error> {
    let wanted: Wanted = document(body)?;
    let if_match = IfMatch::of(&call.headers);
    let name = call.last_segment();
    let (now, is_new) = aliases::set(store, visitor, name, &wanted, &if_match).await?;
    set_at(one(&now)?, is_new, format!("/api/v1/aliases/{name}"))
}

/// Deletes an alias.
pub(in crate::web) async fn delete(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
) -> Result<Reply, Error> {
    let if_match = IfMatch::of(&call.headers);
    aliases::delete(store, visitor, call.last_segment(), &if_match).await?;
    Ok(accepted())
}

/// An alias with the tag of its state.
fn one(object: &WaveAlias) -> Result<Reply, Error> {
    if_match::tag(json(&Alias::new(object))?, object)
}
