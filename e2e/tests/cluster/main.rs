//! The whole store on a real cluster: `make test-e2e`.
//!
//! Tests run side by side, each on instances of its own; those that stop a part of the store take the store for themselves.

mod apps;
mod bad_input;
mod containers;
mod environments;
mod failing_apps;
mod frameworks;
mod gitops;
mod greedy_apps;
mod metrics;
mod one_truth;
mod outages;
mod packages;
mod postgres_and_bucket;
mod publishing;
mod resources;
mod secrets_and_files;
mod server_apps;
mod sizes;
mod startup;
mod undo;
mod waking;

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static STORE: RwLock<()> = RwLock::const_new(());

/// For tests that need a whole store, beside others.
async fn shared() -> RwLockReadGuard<'static, ()> {
    STORE.read().await
}

/// For tests that break the store for a while.
async fn alone() -> RwLockWriteGuard<'static, ()> {
    STORE.write().await
}
