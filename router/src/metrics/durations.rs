//! A histogram that is written without a lock: prometheus-client's own takes one for each observation.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds of the buckets, in microseconds; one more takes the rest.
const BOUNDS: [u32; 16] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    5_000_000,
    30_000_000,
    300_000_000,
];

/// How long something took, over and over.
#[derive(Debug, Clone, Default)]
pub(super) struct Durations(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Durations {
    pub(super) fn observe(&self, time: Duration) {
        let micros = time.as_micros();
        let bucket = BOUNDS.partition_point(|bound| u128::from(*bound) < micros);
        self.0.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        // Wraps after 584 years of it.
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.0.nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl TypedMetric for Durations {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let counts: [u64; BOUNDS.len() + 1] =
            std::array::from_fn(|at| self.0.buckets[at].load(Ordering::Relaxed));
        let bounds = BOUNDS.iter().map(|micros| f64::from(*micros) / 1e6);
        let buckets: Vec<(f64, u64)> = bounds
            .chain(std::iter::once(f64::MAX))
            .zip(counts)
            .collect();
        let nanos = self.0.nanos.load(Ordering::Relaxed);
        let sum = Duration::from_nanos(nanos).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
