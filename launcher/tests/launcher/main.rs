//! The launcher as a process, outside of any container: folders and ports are given by flags.
#![expect(clippy::unwrap_used, reason = "tests")]

mod faults;
mod lock;
mod pod;
mod processes;
mod stand_ins;
mod store;
mod wave;
