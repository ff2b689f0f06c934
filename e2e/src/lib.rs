//! What the tests on a real cluster share: the store under test, its users' tools, a browser.
//!
//! The tests themselves are in `tests/cluster/`. They run against the store that `make up` made.

mod browser;
mod command;
mod condition;
mod health;
mod store;
mod wait;

pub use browser::Browser;
pub use command::{Output, helm, kubectl, run};
pub use condition::{Conditioned, condition};
pub use health::{Health, health};
pub use store::{Published, Store, instance, pack};
pub use wait::{PATIENCE, eventually};
