//! Apps: fetch the bundle, read it, store it, list it in the catalog, and tell what instances run with.

pub(crate) mod import;
pub(crate) mod oidc;
mod reconcile;
pub(crate) mod resolve;
pub(crate) mod secrets;
mod status;

pub(crate) use reconcile::{Context, run};
