//! The router's process: parses its arguments and hands over.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    router::report(router::start(router::Args::parse()))
}
