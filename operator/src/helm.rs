//! Helm: the only place that knows its arguments, its output and its records.

mod apply;
mod error;
mod process;
pub(crate) mod releases;
mod uninstall;

pub(crate) use apply::{Resolved, apply};
pub(crate) use error::Error;
pub(crate) use process::Helm;
pub(crate) use uninstall::uninstall;
