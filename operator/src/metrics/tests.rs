//! What Prometheus sees, and that dashboards, alerts and documents speak of nothing else.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::runtime::{reflector, watcher};
use promql_parser::parser::{self, Expr};
use serde_json::Value;

use super::*;
use crate::instance::{Action, Reason};
use crds::{AppRef, Visibility, WaveInstanceSpec, WaveInstanceStatus};

const ALERTS: &str = include_str!("../../../config/monitoring/alerts.yaml");
const DASHBOARD: &str = include_str!("../../../config/monitoring/dashboard.json");
const OPERATING: &str = include_str!("../../../docs/operating.md");

/// Shown only inside of a container, or once somebody polls.
const ELSEWHERE: [&str; 3] = [
    "wavestore_operator_api_contact_age_seconds",
    "wavestore_operator_container_memory_bytes",
    "wavestore_operator_container_memory_limit_bytes",
];

fn instance(name: &str, conditions: &[(&str, &str)]) -> WaveInstance {
    let spec = WaveInstanceSpec {
        app: AppRef::default(),
        owner: "alice".to_owned(),
        visibility: Visibility::Private,
        suspended: false,
        size: None,
    };
    let mut instance = WaveInstance::new(name, spec);
    let conditions = conditions.iter().map(|(type_, status)| Condition {
        type_: (*type_).to_owned(),
        status: (*status).to_owned(),
        reason: String::new(),
        message: String::new(),
        observed_generation: None,
        last_transition_time: Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH),
    });
    instance.status = Some(WaveInstanceStatus {
        conditions: conditions.collect(),
        ..WaveInstanceStatus::default()
    });
    instance
}

/// Metrics after a little of everything.
fn used() -> Metrics {
    let freshness = Arc::new(Freshness::default());
    freshness.contact();
    let metrics = Metrics::new(freshness);
    metrics.leader(true);
    let (store, mut writer) = reflector::store();
    for instance in [
        instance("ready", &[("Ready", "True")]),
        instance("going", &[("Ready", "False"), ("Reconciling", "True")]),
        instance("stuck", &[("Ready", "False"), ("Stalled", "True")]),
        instance("new", &[]),
    ] {
        writer.apply_watcher_event(&watcher::Event::Apply(instance));
    }
    metrics.count_instances(store);
    metrics.planned(Plan {
        action: Action::Apply,
        reason: Reason::ReleaseAbsent,
    });
    metrics.imported(Import::Imported);
    let mut failed = metrics.reconcile(Controller::Instance);
    failed.helm_failed();
    failed.end(&Ok(()));
    metrics.reconcile(Controller::App).end(&Ok(()));
    let killed = helm::Error::Killed {
        command: "upgrade".to_owned(),
        words: String::new(),
    };
    metrics.helm_run("upgrade").end::<()>(&Err(killed));
    metrics.helm_run("version").end(&Ok(()));
    drop(metrics.helm_run("uninstall"));
    metrics
}

/// Names of all series, as a query names them.
fn series(exposed: &str) -> BTreeSet<String> {
    let lines = exposed.lines().filter(|line| !line.starts_with('#'));
    let shown = lines.filter_map(|line| line.split(['{', ' ']).next());
    shown.chain(ELSEWHERE).map(str::to_owned).collect()
}

/// Names of all metrics, as `# TYPE` has them, with the ending that a counter's series have.
fn families(exposed: &str) -> BTreeSet<String> {
    let types = exposed
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let shown = types
        .filter_map(|line| line.split_once(' '))
        .map(|(name, type_)| match type_ {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        });
    shown.chain(ELSEWHERE.map(str::to_owned)).collect()
}

#[tokio::test]
async fn names_and_labels_do_not_change_by_accident() {
    let exposed = used().expose();
    let mut lines: Vec<String> = exposed
        .lines()
        // The rest of a histogram says the same again.
        .filter(|line| !line.contains("_bucket{") || line.contains("le=\"+Inf\""))
        .filter(|line| !line.contains("_container_memory"))
        .map(|line| {
            let measured = ["seconds", "bytes", "_fds"]
                .iter()
                .any(|unit| line.contains(unit));
            match line.rsplit_once(' ') {
                Some((series, _))
                    if measured && !line.starts_with('#') && !line.contains("_count") =>
                {
                    format!("{series} [measured]")
                }
                _ => line.replace(env!("CARGO_PKG_VERSION"), "[version]"),
            }
        })
        .collect();
    // Families are hash maps.
    lines.sort();
    insta::assert_snapshot!(lines.join("\n"));
}

#[tokio::test]
async fn the_documents_name_every_metric() {
    let unnamed: Vec<String> = families(&used().expose())
        .into_iter()
        .filter(|name| !OPERATING.contains(&format!("`{name}")))
        .collect();
    assert_eq!(unnamed, [""; 0]);
}

/// Every series that a query asks for.
fn asked(query: &str) -> BTreeSet<String> {
    // Grafana puts the range in.
    let query = query.replace("$__rate_interval", "5m");
    let expr = parser::parse(&query).unwrap_or_else(|error| panic!("{query}: {error}"));
    let mut names = BTreeSet::new();
    collect(&expr, &mut names);
    names
}

fn collect(expr: &Expr, names: &mut BTreeSet<String>) {
    match expr {
        Expr::Aggregate(aggregate) => collect(&aggregate.expr, names),
        Expr::Unary(unary) => collect(&unary.expr, names),
        Expr::Binary(binary) => {
            collect(&binary.lhs, names);
            collect(&binary.rhs, names);
        }
        Expr::Paren(paren) => collect(&paren.expr, names),
        Expr::Subquery(subquery) => collect(&subquery.expr, names),
        Expr::Call(call) => {
            for argument in &call.args.args {
                collect(argument, names);
            }
        }
        Expr::VectorSelector(selector) => names.extend(selector.name.clone()),
        Expr::MatrixSelector(matrix) => names.extend(matrix.vs.name.clone()),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

/// What `queries` ask for that nobody exposes.
fn unknown<'a>(queries: impl Iterator<Item = &'a str>) -> Vec<String> {
    let known = series(&used().expose());
    let asked = queries.flat_map(asked);
    // The router checks its own.
    asked
        .filter(|name| !name.starts_with("wavestore_router_") && !known.contains(name))
        .collect()
}

#[tokio::test]
async fn alerts_ask_for_what_there_is_and_say_what_to_do() {
    let rules: Value = serde_saphyr::from_str(ALERTS).expect("rules");
    let alerts: Vec<&Value> = rules["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|group| group["rules"].as_array().into_iter().flatten())
        .collect();
    let text = |alert: &Value, pointer: &str| {
        let text = alert.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_else(|| panic!("{alert} has no {pointer}"))
            .to_owned()
    };
    let queries: Vec<String> = alerts.iter().map(|alert| text(alert, "/expr")).collect();
    assert!(!queries.is_empty());
    assert_eq!(unknown(queries.iter().map(String::as_str)), [""; 0]);
    for alert in alerts {
        let name = text(alert, "/alert");
        for pointer in ["/for", "/annotations/summary", "/annotations/description"] {
            assert!(!text(alert, pointer).is_empty(), "{name} {pointer}");
        }
        let severity = text(alert, "/labels/severity");
        assert!(
            ["critical", "warning"].contains(&severity.as_str()),
            "{name}"
        );
        let runbook = text(alert, "/annotations/runbook");
        let (file, anchor) = runbook.split_once('#').expect("an anchor");
        assert_eq!(file, "docs/operating.md", "{name}");
        assert_eq!(anchor, name.to_lowercase());
        assert!(OPERATING.contains(&format!("\n### {name}\n")), "{name}");
    }
}

#[tokio::test]
async fn the_dashboard_asks_for_what_there_is() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("a dashboard");
    let mut queries = Vec::new();
    let panels = dashboard["panels"].as_array().expect("panels");
    for panel in panels {
        let targets = panel["targets"].as_array().into_iter().flatten();
        let before = queries.len();
        queries.extend(targets.filter_map(|target| target["expr"].as_str()));
        let is_row = panel["type"] == "row";
        assert_eq!(queries.len() == before, is_row, "{}", panel["title"]);
    }
    assert!(!queries.is_empty());
    assert_eq!(unknown(queries.into_iter()), [""; 0]);
}
