//! The audit trail, for programs.

use catalog::{AuditEntry, Deed, Thing};
use schemars::JsonSchema;
use serde::Serialize;

use super::super::audit;
use super::super::{Call, Reply, Store};
use super::{Page, json, limit, moment, rest_of};
use crate::error::Error;

/// Something that somebody has done.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Deed")]
pub(super) struct Told<'a> {
    at: String,
    /// Who: the account's name then.
    account: &'a str,
    /// What it was done to: `app`, `instance`, `alias`, `tag`, `secret` or `account`.
    #[schemars(with = "String")]
    thing: Thing,
    /// The name of that.
    name: &'a str,
    /// What was done, in words.
    done: &'a str,
}

impl<'a> Told<'a> {
    fn new(entry: &'a AuditEntry) -> Self {
        let Deed {
            at,
            account,
            thing,
            name,
            done,
        } = &entry.deed;
        Self {
            at: moment(*at),
            account,
            thing: *thing,
            name,
            done,
        }
    }
}

/// What was done, the latest first.
pub(in crate::web) async fn list(store: &Store, call: &Call) -> Result<Reply, Error> {
    let limit = limit(call)?;
    let query = audit::of_program(call)?;
    let (entries, after) = audit::find(store, &query, limit).await?;
    let asked = audit::asked(&query);
    let asked = asked
        .each_ref()
        .map(|(name, value)| (*name, value.as_deref()));
    let next = after.map(|after| rest_of("/api/v1/audit", &after, limit, &asked));
    json(&Page {
        items: entries.iter().map(Told::new).collect(),
        next,
    })
}
