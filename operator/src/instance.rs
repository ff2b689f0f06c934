//! Instances: observe, plan, execute, publish.

mod comparisons;
mod context;
mod deletion;
mod drift;
mod execute;
mod idle;
mod judge;
mod launcher;
mod leftovers;
mod memos;
#[cfg(test)]
mod model;
mod names;
mod observe;
mod plan;
mod pods;
mod reconcile;
mod record;
mod rollout;
mod status;
mod torn_out;
pub(crate) mod workload;

pub(crate) use context::{Context, Settings};
pub(crate) use observe::{AppEntry, keep_app};
pub(crate) use plan::Plan;
#[cfg(test)]
pub(crate) use plan::{Action, Reason};
pub(crate) use reconcile::run;
pub(crate) use rollout::{Policy, Rollout};
