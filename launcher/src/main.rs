//! `wavestore-launcher`: PID 1 of an instance's pod, and of the jobs that build environments.

use std::process::ExitCode;

fn main() -> ExitCode {
    launcher::report(launcher::start(launcher::Task::parse()))
}
