//! What an instance uses, as its page and a terminal show it. The API server has no kubelet beside it that measures anything: it is
//! told of measurements as metrics-server serves them, at the same address and behind the same rights.

use anyhow::{Result, ensure};
use e2e::{ADMIN, Browser, Fake, FakeApp, Sandbox, eventually, wavestore};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use crate::instances::sign_in;

const USES: &str = "212 MiB of 1 GiB of memory, 0.03 of 1 CPU";

/// Makes the address where measurements are.
async fn serve_metrics(sandbox: &Sandbox) -> Result<()> {
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "pods.metrics.k8s.io",
            // Groups of k8s.io ask for that.
            "annotations": { "api-approved.kubernetes.io": "unapproved, for a test" },
        },
        "spec": {
            "group": "metrics.k8s.io", "scope": "Namespaced",
            "names": { "plural": "pods", "singular": "podmetrics", "kind": "PodMetrics", "listKind": "PodMetricsList" },
            "versions": [{ "name": "v1beta1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } }],
        },
    });
    let definition = definition.to_string();
    sandbox
        .kubectl(&["apply", "-f", "-"], Some(&definition))
        .await?;
    let established = [
        "wait",
        "--for=condition=Established",
        "--timeout=30s",
        "crd/pods.metrics.k8s.io",
    ];
    sandbox.kubectl(&established, None).await?;
    Ok(())
}

/// Gives the instance `sales` a pod. Nobody starts it.
async fn add_pod(sandbox: &Sandbox) -> Result<()> {
    let endpoints = json!({ "endpoints": [{
        "addresses": ["192.0.2.1"], "conditions": { "ready": false },
        "targetRef": { "kind": "Pod", "name": "sales-1", "uid": "sales-1" },
    }] });
    let slices = sandbox.api::<EndpointSlice>();
    let (params, patch) = (PatchParams::default(), Patch::Merge(&endpoints));
    slices.patch("sales", &params, &patch).await?;
    // Else a sandbox has none.
    let quota = ["delete", "resourcequota", "no-pods"];
    sandbox.kubectl(&quota, None).await?;
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": "sales-1" },
        "spec": {
            "serviceAccountName": "wavestore-router", "automountServiceAccountToken": false, "schedulerName": "nobody",
            "containers": [{
                "name": "app", "image": "none", "resources": { "limits": { "cpu": "1", "memory": "1Gi" } },
            }],
        },
    }))?;
    let pods = sandbox.api::<Pod>();
    pods.create(&PostParams::default(), &pod).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_instance_uses_is_shown_where_it_is_measured() -> Result<()> {
    let sandbox = Sandbox::create("usage").await?;
    let app = FakeApp::start().await?;
    sandbox
        .fake(&Fake::new("sales", ADMIN, app.address()))
        .await?;
    add_pod(&sandbox).await?;
    let router = sandbox.router().start().await?;
    let (url, token) = (router.store(""), router.token("usage").await?);
    let get = async || wavestore(&url, &token, &["instance", "get", "sales"]).await;

    // Nobody misses what is not measured.
    let got = get().await?;
    ensure!(
        got.success && !got.stdout.contains("It uses"),
        "before: {got:?}"
    );
    let mut admin = router.admin().await?;
    let page = admin.open(&router.store("/instances/sales")).await?;
    ensure!(page.status() == 200, "{}", page.status());
    let page = page.text().await?;
    ensure!(!page.contains("What it uses"), "before: {page}");

    serve_metrics(&sandbox).await?;
    let measured = json!({
        "apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics", "metadata": { "name": "sales-1" },
        "timestamp": "2026-01-01T12:00:00Z", "window": "15s",
        "containers": [{ "name": "app", "usage": { "cpu": "29500001n", "memory": "217088Ki" } }],
    })
    .to_string();
    sandbox
        .kubectl(&["apply", "-f", "-"], Some(&measured))
        .await?;
    eventually("the use to be told", async || {
        let got = get().await?;
        ensure!(got.success && got.stdout.contains(USES), "{got:?}");
        Ok(())
    })
    .await?;
    let browser = Browser::start().await?;
    sign_in(&browser, &router).await?;
    browser.page.goto(&router.store("/instances/sales")).await?;
    browser.sees(USES).await?;
    browser.looks("instance-usage").await?;
    browser.close().await?;

    let log = router.log()?;
    ensure!(!log.contains("ERROR"), "{log}");
    let gone = ["delete", "crd", "pods.metrics.k8s.io"];
    sandbox.kubectl(&gone, None).await?;
    sandbox.passed();
    Ok(())
}
