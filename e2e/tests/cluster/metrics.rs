//! What Prometheus gets from the operators' pods.

use anyhow::{Context, Result, ensure};
use crds::Visibility;
use e2e::{Store, eventually, instance};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, api::ListParams};

/// The value of a metric, named with its labels.
fn value(text: &str, metric: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(metric));
    let line = line.with_context(|| format!("there is no {metric} in:\n{text}"))?;
    Ok(line.trim().parse()?)
}

/// The metrics of every operator, by way of the API server.
async fn scraped(store: &Store) -> Result<Vec<String>> {
    let operators = ListParams::default().labels("app.kubernetes.io/component=operator");
    let mut answers = Vec::new();
    for pod in store.api::<Pod>().list(&operators).await? {
        let namespace = &store.namespace.name;
        let path = format!(
            "/api/v1/namespaces/{namespace}/pods/{}:8080/proxy/metrics",
            pod.name_any()
        );
        let request = http::Request::get(path).body(Vec::new())?;
        answers.push(store.client.request_text(request).await?);
    }
    Ok(answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_tell_prometheus_how_they_are() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    store.publish("hello").await?;
    let name = "e2e-metrics";
    store.delete(name).await?;
    let spec = instance("hello", &store.admin, Visibility::Private);
    store.apply(name, spec).await?;
    store.ready(name).await?;

    eventually("one leader that has run Helm", async || {
        let operators = scraped(&store).await?;
        ensure!(operators.len() > 1, "there is one operator");
        let mut leaders = 0;
        for text in &operators {
            ensure!(value(text, "wavestore_operator_instances{state=\"ready\"} ")? >= 1.0);
            ensure!(value(text, "wavestore_operator_api_contact_age_seconds ")? < 10.0);
            ensure!(
                value(
                    text,
                    "wavestore_operator_cache_age_seconds{watch=\"releases\"} "
                )? < 10.0
            );
            if value(text, "wavestore_operator_leader ")? > 0.0 {
                leaders += 1;
                let run =
                    "wavestore_operator_helm_runs_total{verb=\"install\",outcome=\"succeeded\"} ";
                ensure!(value(text, run)? >= 1.0);
                ensure!(value(text, "wavestore_operator_helm_cpu_seconds_total ")? > 0.0);
            }
        }
        ensure!(leaders == 1, "{leaders} operators lead");
        Ok(())
    })
    .await?;
    store.delete(name).await
}
