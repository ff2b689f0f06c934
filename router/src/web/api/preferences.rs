//! What people like and have pinned, for programs.

use catalog::Preference;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::timeout;

use super::super::preferences::{self, Change};
use super::super::{Call, PATIENCE, Reply, Store, Visitor};
use super::{document, json, limit, page_by_name};
use crate::error::Error;

/// What somebody thinks of an app, with all its versions.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Preference")]
pub(super) struct Told<'a> {
    /// The app's name.
    app: &'a str,
    liked: bool,
    pinned: bool,
}

impl<'a> Told<'a> {
    fn new(app: &'a str, preference: Preference) -> Self {
        let Preference { liked, pinned } = preference;
        Self { app, liked, pinned }
    }
}

/// The apps that the visitor likes or has pinned, by name.
pub(in crate::web) async fn list(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
) -> Result<Reply, Error> {
    let limit = limit(call)?;
    let own = store
        .catalog
        .preferences_of(&visitor.signed_in()?.viewer.name);
    let own = timeout(PATIENCE, own).await??;
    let own: Vec<(String, Preference)> = own.into_iter().collect();
    json(&page_by_name(
        call,
        limit,
        &own,
        |(app, _)| app,
        |(app, preference)| Told::new(app, *preference),
    ))
}

/// Changes what the visitor thinks of an app.
pub(in crate::web) async fn change(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    body: &[u8],
) -> Result<Reply, Error> {
    let change: Change = document(body)?;
    let app = call.last_segment();
    let now = preferences::change(store, visitor, app, change).await?;
    json(&Told::new(app, now))
}
