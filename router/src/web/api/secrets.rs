//! Secrets of apps, for programs: what they are called and who reads them. Values are taken and never told.

use crds::{AppRef, SecretScope};
use schemars::JsonSchema;
use serde::Serialize;

use super::super::if_match::{self, IfMatch};
use super::super::secrets::{self, Found, Wanted};
use super::super::{Call, Reply, Store, Visitor};
use super::{document, done, json, limit, of_kubernetes, page_by_name, set_at};
use crate::error::Error;

/// What is told of a secret.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Secret")]
pub(super) struct Told<'a> {
    name: &'a str,
    scope: SecretScope,
    /// The app that reads it, if its scope is `App`.
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<&'a str>,
    /// Whose it is, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    /// Names of its keys.
    keys: &'a [String],
    /// The apps that read it, of those that one sees.
    used_by: &'a [AppRef],
    /// Whether it is kept by those who run the cluster, and not to be changed here.
    read_only: bool,
    /// When it was set last.
    #[serde(skip_serializing_if = "Option::is_none")]
    set_at: Option<String>,
}

impl<'a> Told<'a> {
    fn new(found: &'a Found) -> Self {
        let Found {
            name,
            entry,
            used_by,
            is_managed: _,
        } = found;
        Self {
            name,
            scope: entry.readers.scope(),
            app: entry.readers.app(),
            owner: entry.readers.owner(),
            keys: &entry.keys,
            used_by,
            read_only: !entry.is_of_store,
            set_at: entry.set_at.as_ref().and_then(|at| of_kubernetes(at.0)),
        }
    }
}

/// The secrets that the visitor sees, by name.
pub(in crate::web) fn list(store: &Store, visitor: &Visitor, call: &Call) -> Result<Reply, Error> {
    let limit = limit(call)?;
    let all = secrets::all(store, visitor);
    json(&page_by_name(call, limit, &all, |it| &it.name, Told::new))
}

/// One secret.
pub(in crate::web) fn get(store: &Store, visitor: &Visitor, call: &Call) -> Result<Reply, Error> {
    one(&secrets::find(store, visitor, call.last_segment())?)
}

/// Makes a secret, or replaces all of it.
pub(in crate::web) async fn set(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    body: &[u8],
) -> Result<Reply, Error> {
    let wanted: Wanted = document(body).map_err(without_values)?;
    let if_match = IfMatch::of(&call.headers);
    let name = call.last_segment();
    let (now, is_new) = secrets::set(store, visitor, name, &wanted, &if_match).await?;
    set_at(one(&now)?, is_new, format!("/api/v1/secrets/{name}"))
}

/// What is wrong with a document would be said with the value that is there.
fn without_values(error: Error) -> Error {
    match error {
        Error::BadDocument(error) => Error::UnreadableSecret {
            line: error.line(),
            column: error.column(),
        },
        other => other,
    }
}

/// Deletes a secret that no app reads.
pub(in crate::web) async fn delete(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
) -> Result<Reply, Error> {
    let if_match = IfMatch::of(&call.headers);
    secrets::delete(store, visitor, call.last_segment(), &if_match).await?;
    Ok(done())
}

fn one(found: &Found) -> Result<Reply, Error> {
    let state = &found.entry.resource_version;
    if_match::tag_as(json(&Told::new(found))?, state)
}
