//! What users and apps may have, and who has how much of it, for programs.

use schemars::JsonSchema;
use serde::Serialize;

use super::super::{Call, Reply, Store};
use super::{json, limit};
use crate::error::Error;

/// What may be had at once; what is left out is not limited.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Limits")]
pub(super) struct Told<'a> {
    /// How many instances one user may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    instances_per_user: Option<u32>,
    /// How much memory the instances of one user may have together.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_per_user_bytes: Option<u64>,
    /// How many versions of one app may be published.
    #[serde(skip_serializing_if = "Option::is_none")]
    versions_per_app: Option<u32>,
    /// What users have, first who is nearest to a limit. Whoever has no instance is not among them.
    users: Vec<User<'a>>,
    /// How many more users have instances.
    more_users: usize,
}

/// What one user has.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Holding")]
struct User<'a> {
    name: &'a str,
    /// How many instances, whether they run or not.
    instances: u64,
    /// The memory limits of these together.
    memory_bytes: u64,
}

/// What may be had, and what users have.
pub(in crate::web) fn get(store: &Store, call: &Call) -> Result<Reply, Error> {
    let most = limit(call)?;
    let snapshot = store.table.load();
    let holdings = store.limits.holdings(&snapshot);
    let users = holdings.iter().take(most).map(|had| User {
        name: had.user,
        instances: had.instances,
        memory_bytes: had.memory,
    });
    json(&Told {
        instances_per_user: store.limits.max_instances_per_user,
        memory_per_user_bytes: store.limits.memory_per_user(),
        versions_per_app: store.limits.max_versions_per_app,
        users: users.collect(),
        more_users: holdings.len().saturating_sub(most),
    })
}
