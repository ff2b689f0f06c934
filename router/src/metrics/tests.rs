//! That dashboard, alerts and documents speak of what Prometheus sees, and of all of it.

use std::collections::BTreeSet;

use super::*;

const ALERTS: &str = include_str!("../../../config/monitoring/alerts.yaml");
const DASHBOARD: &str = include_str!("../../../config/monitoring/dashboard.json");
const OPERATING: &str = include_str!("../../../docs/operating.md");

/// Everything in a text that is called like one of ours.
fn named(text: &str) -> BTreeSet<&str> {
    text.match_indices("wavestore_router_")
        .map(|(at, _)| {
            let rest = &text[at..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            &rest[..end.unwrap_or(rest.len())]
        })
        .collect()
}

/// The series of a router that has served something, without what histograms add.
fn exposed() -> String {
    let metrics = Metrics::default();
    let journal = Journal {
        metrics: Arc::default(),
        access_log: None,
    };
    metrics.watch(Scraped {
        table: Arc::default(),
        health: Arc::default(),
        tunnels: Arc::new(Tunnels::new(Duration::from_secs(1), 1, 1)),
        journal: Arc::new(journal),
        limits: Limits::of(Some(10), None),
    });
    metrics.took(Phase::Whole, Duration::from_millis(3));
    drop(metrics.connected());
    metrics.expose()
}

#[tokio::test]
async fn alerts_and_dashboard_ask_for_what_there_is() {
    let exposed = exposed();
    let exposed = named(&exposed);
    let asked: BTreeSet<_> = named(ALERTS).union(&named(DASHBOARD)).copied().collect();
    assert!(!asked.is_empty());
    let unknown: Vec<_> = asked.difference(&exposed).collect();
    assert_eq!(unknown, Vec::<&&str>::new());
}

#[tokio::test]
async fn every_metric_is_explained() {
    let exposed = exposed();
    let series = exposed
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect::<Vec<_>>()
        .join("\n");
    let explained = named(OPERATING);
    let silent: Vec<_> = named(&series)
        .into_iter()
        .map(|name| {
            let base = ["_bucket", "_count", "_sum"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            base.unwrap_or(name)
        })
        .filter(|name| !explained.contains(name))
        .collect();
    assert_eq!(silent, [""; 0]);
    let unknown: Vec<_> = explained
        .into_iter()
        .filter(|name| !series.contains(name))
        .collect();
    assert_eq!(unknown, [""; 0]);
}
