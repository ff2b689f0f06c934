//! What the kernel knows of this process.

use std::fmt;
use std::fs;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;

use super::gauge;

/// `process_*`, under the names that every client library gives them.
#[derive(Debug)]
pub(super) struct Process {
    /// Seconds since the epoch.
    pub(super) started_at: f64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        if let Some(seconds) = cpu_seconds() {
            let cpu = ConstCounter::new(seconds);
            let help = "CPU time of the router";
            let unit = Some(&Unit::Seconds);
            let counter =
                encoder.encode_descriptor("process_cpu", help, unit, cpu.metric_type())?;
            cpu.encode(counter)?;
        }
        if let Some(bytes) = resident_bytes() {
            let help = "Resident memory of the router";
            let unit = Some(&Unit::Bytes);
            gauge(encoder, "process_resident_memory", help, unit, bytes)?;
        }
        if let Some(open) = open_files() {
            gauge(
                encoder,
                "process_open_fds",
                "Open file descriptors",
                None,
                open,
            )?;
        }
        let help = "When the process started, since the epoch";
        let unit = Some(&Unit::Seconds);
        gauge(encoder, "process_start_time", help, unit, self.started_at)
    }
}

fn cpu_seconds() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let microseconds =
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    #[expect(clippy::cast_precision_loss, reason = "exact for 285 years")]
    Some(microseconds as f64 / 1e6)
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn open_files() -> Option<f64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is the folder itself.
    u32::try_from(open.saturating_sub(1)).ok().map(f64::from)
}
