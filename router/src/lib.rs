//! Wavestore's router: proxies and authorizes all traffic, and serves the store's own pages.
//!
//! One request: `gateway` reads Host and path into a `target`; the store's pages go to `web`, an instance
//! needs a `permit` made from the `table` and a `session` or a `bearer`, and with it goes through `proxy`. Clients and
//! tasks are wired in `runtime`.

mod access_log;
mod activity;
mod address;
mod answers;
mod app_log;
mod args;
mod audit;
mod backoff;
mod bearer;
mod body;
mod client_address;
mod descriptors;
mod error;
mod events;
mod exchange;
mod garbage;
mod gateway;
mod grants;
mod head;
mod instance_id;
mod internal;
mod limits;
mod metrics;
mod objects;
mod offer;
mod oidc;
mod origin;
mod permit;
mod pod_log;
mod policy;
mod proxy;
mod redirect;
mod replicas;
mod runtime;
mod secrets;
mod server;
mod session;
mod shares;
mod sign_in;
mod site;
mod start_up;
mod table;
mod tags;
mod target;
mod tls;
mod trace;
mod usage;
mod viewer;
mod waiting;
mod web;

#[cfg(any(test, fuzzing))]
pub mod properties;
#[cfg(test)]
mod tests;

pub use args::{Args, BlobsCommand, Command, GcArgs, LogFormat};
pub use runtime::start;
pub use start_up::{StartError, report};

use body::Body;
use instance_id::InstanceId;
