//! Apps: fetch the bundle, read it, store it, list it in the catalog, and tell what instances run with.

pub(crate) mod import;
mod reconcile;
pub(crate) mod resolve;
mod status;

pub(crate) use reconcile::{Context, run};
