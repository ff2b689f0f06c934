//! PID 1 of every instance's pod: fetches the app's bundle, installs what it requires, starts the Wave
//! server and the app, and keeps the two running.
//!
//! Decisions are in pure modules ([`phase`], [`reason`], [`commands`], `supervise::policy`,
//! `environment::fingerprint`); only `runtime`, `fetch`, `environment`, `supervise`, `process` and
//! `family` touch the world.

mod args;
mod backoff;
mod commands;
mod digest;
mod environment;
mod error;
mod exit;
mod family;
mod fetch;
mod front;
mod http1;
mod output;
mod page;
mod phase;
mod probes;
mod process;
mod reason;
mod runtime;
mod settings;
mod signals;
mod sockets;
mod sourcing;
mod store_url;
mod supervise;
mod tail;
mod termination;
mod variables;
mod wave_log;

pub use args::Args;
pub use error::{Error, report};
pub use runtime::start;
