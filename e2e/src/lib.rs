//! What the tests on a real cluster share: the store under test, its users' tools, a browser; and for tests of the operator
//! or the router alone, a namespace of their own, both as local processes, a fault proxy, a control plane without nodes.
//!
//! The tests themselves are in `tests/cluster/`, which run against the store that `make up` made, in `tests/faults/` and in
//! `tests/router/`.
//!
//! Files are named from this package's folder, where cargo runs tests. Checkouts may share what cargo has built, so no path of one
//! may be in it.

mod authority;
mod browser;
mod bucket;
mod command;
mod condition;
mod control_plane;
mod fake_app;
mod health;
mod invariants;
mod looks;
mod namespace;
mod oidc;
mod operator;
mod process;
mod proxy;
mod registry;
mod router;
mod sandbox;
mod store;
mod user;
mod wait;
mod web_driver;

pub use authority::{Authority, Identity};
pub use browser::Browser;
pub use bucket::Bucket;
pub use command::{Output, helm, kubectl, run, start_wavestore, wavestore, wavestore_of};
pub use condition::{Conditioned, condition};
pub use control_plane::{ControlPlane, Daemon};
pub use fake_app::{FakeApp, Reached};
pub use health::{Health, health};
pub use invariants::{Record, Volumes};
pub use namespace::Namespace;
pub use oidc::{CLIENT_ID, CLIENT_SECRET, OidcProvider};
pub use operator::{Launch, Operator, kill_process};
pub use process::{collect_garbage, migrate};
pub use proxy::{Agent, Asked, Faults, Held, Proxy, Verb};
pub use registry::{Challenge, Registry};
pub use router::{ADMIN, ADMIN_PASSWORD, Fake, Router, RouterLaunch, machine_address};
pub use sandbox::Sandbox;
pub use store::{Published, Store, instance, pack};
pub use user::{User, location};
pub use wait::{PATIENCE, eventually};
