//! PID 1 of every instance's pod: fetches the app's bundle, installs what it requires, starts the Wave
//! server and the app, and keeps the two running. And PID 1 of the jobs that install once, for all instances to come.
//!
//! Decisions are pure: `commands`, `variables`, `reason`, `wave_log`, `supervise::policy`,
//! `environment::fingerprint`. What touches the world calls them: `fetch`, `sourcing`, `environment`,
//! `build`, `supervise`, `process`, `family`; `runtime` wires it.

mod args;
mod backoff;
mod build;
mod certificates;
mod commands;
mod digest;
mod environment;
mod error;
mod exit;
mod family;
mod fetch;
mod files;
mod front;
mod http1;
mod memory;
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

pub use args::{Args, BuildArgs, Task};
pub use error::{Error, report};
pub use runtime::start;
