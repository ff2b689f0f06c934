//! The router's process: parses its arguments and hands over.

use std::process::ExitCode;

use clap::Parser;

/// Requests are many small allocations on several threads: with glibc's allocator they took a tenth of the time, and memory
/// that a crowd has needed did not go back.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    router::report(router::start(router::Args::parse()))
}
