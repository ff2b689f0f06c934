//! What the kernel knows of this process, its children, and its container.

use std::fmt;
use std::fs;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;

use super::{collected, collected_gauge};

/// The files of a container's own control group.
const CGROUP: &str = "/sys/fs/cgroup";

/// `process_*`, under the names that every client library gives them.
#[derive(Debug)]
pub(super) struct Process {
    /// Seconds since the epoch.
    pub(super) started_at: f64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        if let Some(cpu) = cpu_seconds(UsageWho::RUSAGE_SELF) {
            let help = "CPU time of the operator itself, without Helm";
            collected(
                encoder,
                "process_cpu",
                help,
                Some(&Unit::Seconds),
                &ConstCounter::new(cpu),
            )?;
        }
        if let Some(bytes) = resident_bytes() {
            let help = "Resident memory of the operator itself, without Helm";
            let unit = Some(&Unit::Bytes);
            collected_gauge(encoder, "process_resident_memory", help, unit, bytes)?;
        }
        if let Some(open) = open_files() {
            let help = "Open file descriptors";
            collected_gauge(encoder, "process_open_fds", help, None, open)?;
        }
        let help = "When the process started, since the epoch";
        let unit = Some(&Unit::Seconds);
        collected_gauge(encoder, "process_start_time", help, unit, self.started_at)
    }
}

/// Memory of the container, Helm included; nothing outside of one.
#[derive(Debug)]
pub(super) struct Container;

impl Collector for Container {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let unit = Some(&Unit::Bytes);
        if let Some(used) = working_set() {
            let help = "Memory of the container that the kernel cannot take back, Helm included";
            collected_gauge(encoder, "container_memory", help, unit, used)?;
        }
        if let Some(limit) = cgroup_number("memory.max") {
            let help = "Memory at which the kernel kills the container";
            collected_gauge(encoder, "container_memory_limit", help, unit, limit)?;
        }
        Ok(())
    }
}

/// CPU time of this process, or of all its children that have ended.
pub(super) fn cpu_seconds(who: UsageWho) -> Option<f64> {
    let usage = getrusage(who).ok()?;
    let microseconds =
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    #[expect(clippy::cast_precision_loss, reason = "exact for 285 years")]
    Some(microseconds as f64 / 1e6)
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes: f64 = field(&status, "VmRSS:")?;
    Some(kibibytes * 1024.0)
}

fn open_files() -> Option<f64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is the folder itself.
    u32::try_from(open.saturating_sub(1)).ok().map(f64::from)
}

/// What the kubelet, too, calls the working set: what is used without the files that are only cached.
fn working_set() -> Option<f64> {
    let used = cgroup_number("memory.current")?;
    let stat = fs::read_to_string(format!("{CGROUP}/memory.stat")).ok()?;
    let cached: f64 = field(&stat, "inactive_file")?;
    Some((used - cached).max(0.0))
}

/// A number in a file of the control group; none if it is `max`.
fn cgroup_number(file: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("{CGROUP}/{file}")).ok()?;
    text.trim().parse().ok()
}

/// The number after `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_kernel_are_read() {
        let status = "Name:\toperator\nVmRSS:\t    2048 kB\nThreads:\t3\n";
        assert_eq!(field(status, "VmRSS:"), Some(2048.0));
        let stat = "anon 1\ninactive_file 4096\n";
        assert_eq!(field(stat, "inactive_file"), Some(4096.0));
        assert_eq!(field(stat, "active_file"), None);
        assert!(resident_bytes().is_some_and(|bytes| bytes > 0.0));
        assert!(open_files().is_some_and(|open| open > 0.0));
        assert!(cpu_seconds(UsageWho::RUSAGE_SELF).is_some());
    }
}
