//! An instance has the size that somebody has chosen for it, whoever that is, and the app's own without one.

use anyhow::{Result, ensure};
use crds::{Visibility, WaveInstance};
use e2e::{Store, condition, eventually, helm, instance, kubectl};

/// Requests, limits and nodes of the pod, by jsonpath.
async fn wanted(name: &str) -> Result<String> {
    let jsonpath = "--output=jsonpath={.spec.template.spec.containers[0].resources}{.spec.template.spec.nodeSelector}";
    kubectl(&["get", "deployment", name, jsonpath], None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_has_the_size_that_its_spec_says() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let instances = store.api::<WaveInstance>();
    let name = "e2e-sizes";
    store.delete(name).await?;
    let mut spec = instance("hello", &store.admin, Visibility::Private);
    spec.size = Some("small".to_owned());
    store.apply(name, spec).await?;
    store.ready(name).await?;
    let small = wanted(name).await?;
    ensure!(
        small.contains(r#""memory":"300Mi""#) && small.contains(r#""kubernetes.io/os":"linux""#),
        "{small}"
    );

    // Helm's users choose by the same word, and are told of one that there is not.
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/wave-instance");
    let set = |size: &str| format!("size={size}");
    let huge = set("huge");
    let refused = helm(&["upgrade", name, chart, "--reuse-values", "--set", &huge]).await;
    let words = refused
        .err()
        .map_or_else(String::new, |error| format!("{error:#}"));
    ensure!(
        words.contains("there is no size `huge` in this store, only: small"),
        "{words}"
    );

    let patch = |size: &str| format!(r#"{{"spec":{{"size":{size}}}}}"#);
    for (size, told) in [("\"huge\"", "Stalled"), ("null", "Ready")] {
        let patch = patch(size);
        let arguments = [
            "patch",
            "waveinstance",
            name,
            "--type=merge",
            "--patch",
            &patch,
        ];
        kubectl(&arguments, None).await?;
        condition(&instances, name, told, |condition| {
            let says = told == "Ready" || condition.message.contains("there are: small");
            condition.status == "True" && says
        })
        .await?;
    }
    eventually("the app's own size", async || {
        let now = wanted(name).await?;
        ensure!(
            !now.contains("300Mi") && !now.contains("kubernetes.io/os"),
            "{now}"
        );
        Ok(())
    })
    .await?;
    store.delete(name).await
}
