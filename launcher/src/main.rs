//! `wavestore-launcher`: PID 1 of an instance's pod.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    launcher::report(launcher::start(launcher::Args::parse()))
}
