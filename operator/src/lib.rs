//! The operator: imports `WaveApp`s into the catalog, and keeps one Helm release per `WaveInstance`.
//!
//! It alone runs Helm. Decisions (`instance::plan`, `instance::judge`, `app::resolve`) are pure functions;
//! everything that reads or writes the world stands around them.

mod alias;
mod app;
mod args;
mod attempts;
mod error;
mod events;
#[cfg(test)]
mod fake_api;
mod finalizer;
mod freshness;
mod gate;
mod health;
mod helm;
mod index;
mod instance;
mod lease;
mod limits;
mod metrics;
mod readable;
mod runtime;
mod standby;
mod watches;

pub use args::Args;
pub use error::Error;
pub use runtime::{report, start};
