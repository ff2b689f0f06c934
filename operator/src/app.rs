//! Apps: fetch the bundle, read it, store it, list it in the catalog, tell what instances run with, and have
//! its environment built.

pub(crate) mod environment;
pub(crate) mod images;
pub(crate) mod import;
pub(crate) mod oidc;
mod reconcile;
pub(crate) mod resolve;
pub(crate) mod runtimes;
pub(crate) mod secrets;
pub(crate) mod sizes;
mod status;

pub(crate) use reconcile::{Context, run};
