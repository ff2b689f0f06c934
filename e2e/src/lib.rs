//! What the tests on a real cluster share: the store under test, its users' tools, a browser; and for tests of the operator
//! alone, a namespace of their own, operators as local processes, a fault proxy, a control plane without nodes.
//!
//! The tests themselves are in `tests/cluster/`, which run against the store that `make up` made, and in `tests/faults/`.

mod browser;
mod command;
mod condition;
mod control_plane;
mod health;
mod invariants;
mod namespace;
mod operator;
mod proxy;
mod sandbox;
mod store;
mod wait;

pub use browser::Browser;
pub use command::{Output, helm, kubectl, run};
pub use condition::{Conditioned, condition};
pub use control_plane::{ControlPlane, Daemon};
pub use health::{Health, health};
pub use invariants::{Record, Volumes};
pub use namespace::Namespace;
pub use operator::{Launch, Operator, kill_process};
pub use proxy::{Agent, Asked, Faults, Held, Proxy, Verb};
pub use sandbox::Sandbox;
pub use store::{Published, Store, instance, pack};
pub use wait::{PATIENCE, eventually};
