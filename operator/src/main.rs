//! `wavestore-operator`: parses its flags and hands over.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    operator::report(operator::start(operator::Args::parse()))
}
