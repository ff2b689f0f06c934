//! What a router may do to apps and aliases at all, by the policies and by its own rights.

use anyhow::{Result, ensure};
use crds::{WaveAlias, WaveApp};
use e2e::{Sandbox, eventually};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_router_exchanges_no_bundle_and_marks_nothing() -> Result<()> {
    let sandbox = Sandbox::create("router-apps").await?;
    let api: Api<WaveApp> = Api::namespaced(sandbox.client_of("router").await?, &sandbox.name);
    let digest = format!("sha256:{}", "0".repeat(64));
    let object = |name: &str, marks: Value, bundle: Value| {
        let mut metadata = marks;
        metadata["name"] = json!(name);
        serde_json::from_value::<WaveApp>(json!({
            "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveApp", "metadata": metadata,
            "spec": { "bundle": bundle, "owner": "alice" },
        }))
    };
    let create = async |name: &str, marks: Value, bundle: Value| {
        let made = api
            .create(&PostParams::default(), &object(name, marks, bundle)?)
            .await;
        Ok::<_, anyhow::Error>(made.map(drop).map_err(|error| error.to_string()))
    };
    // Policies come into force with a delay.
    let mut tries = 0;
    eventually("the policy to be in force", async || {
        tries += 1;
        let labels = json!({ "labels": { "a": "b" } });
        let made = create(&format!("try-{tries}"), labels, json!({ "digest": digest })).await?;
        ensure!(made.is_err_and(|error| error.contains("may not write labels")));
        Ok(())
    })
    .await?;
    let url = json!({ "url": "https://example.com/x.wave", "digest": digest });
    let made = create("fetched", json!({}), url.clone()).await?;
    ensure!(
        made.as_ref()
            .is_err_and(|error| error.contains("in the blob store")),
        "{made:?}"
    );
    let key = json!({ "annotations": { "wavestore.io/idempotency-key": "x" } });
    create("sales", key, json!({ "digest": digest }))
        .await?
        .map_err(anyhow::Error::msg)?;
    // Of one that somebody else has published, too.
    let admin = sandbox.api::<WaveApp>();
    let fetched = object("fetched", json!({ "labels": { "a": "b" } }), url)?;
    admin.create(&PostParams::default(), &fetched).await?;
    for name in ["sales", "fetched"] {
        let change = async |patch: Value| {
            let changed = api
                .patch(name, &PatchParams::default(), &Patch::Merge(patch))
                .await;
            changed.map(drop).map_err(|error| error.to_string())
        };
        let allowed = json!({ "spec": { "owner": "bob", "visibility": "Public", "tags": ["a"] } });
        change(allowed).await.map_err(anyhow::Error::msg)?;
        for (patch, why) in [
            (
                json!({ "spec": { "bundle": { "digest": format!("sha256:{}", "1".repeat(64)) } } }),
                "immutable",
            ),
            (
                json!({ "metadata": { "annotations": { "a": "b" } } }),
                "may not write labels",
            ),
            (
                json!({ "metadata": { "finalizers": ["example.com/mine"] } }),
                "may not write labels",
            ),
        ] {
            let changed = change(patch.clone()).await;
            ensure!(
                changed.as_ref().is_err_and(|error| error.contains(why)),
                "{name}: {patch}: {changed:?}"
            );
        }
        api.delete(name, &DeleteParams::default()).await?;
    }
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_gives_no_alias_a_host() -> Result<()> {
    let sandbox = Sandbox::create("router-aliases").await?;
    let api: Api<WaveAlias> = Api::namespaced(sandbox.client_of("router").await?, &sandbox.name);
    let admin = sandbox.api::<WaveAlias>();
    let object = |name: &str, spec: Value| {
        serde_json::from_value::<WaveAlias>(json!({
            "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveAlias",
            "metadata": { "name": name }, "spec": spec,
        }))
    };
    let plain = json!({ "instance": "sales", "primary": true });
    let hosted = json!({ "instance": "sales", "host": "evil.example.com" });
    let params = PostParams::default();
    // Policies come into force with a delay.
    let mut tries = 0;
    eventually("the policy to be in force", async || {
        tries += 1;
        let object = object(&format!("try-{tries}"), hosted.clone())?;
        let made = api.create(&params, &object).await;
        ensure!(made.is_err_and(|error| error.to_string().contains("may only choose")));
        Ok(())
    })
    .await?;
    api.create(&params, &object("plain", plain)?).await?;
    let given = json!({ "instance": "sales", "host": "crm.example.com" });
    admin.create(&params, &object("given", given)?).await?;
    let change = async |name: &str, patch: Value| {
        let params = PatchParams::default();
        let changed = api.patch(name, &params, &Patch::Merge(patch)).await;
        changed.map(drop).map_err(|error| error.to_string())
    };
    for name in ["plain", "given"] {
        let elsewhere = json!({ "spec": { "instance": "hello", "primary": false } });
        change(name, elsewhere).await.map_err(anyhow::Error::msg)?;
        for patch in [
            json!({ "spec": { "host": "evil.example.com" } }),
            json!({ "metadata": { "labels": { "a": "b" } } }),
        ] {
            let changed = change(name, patch.clone()).await;
            let refused = changed
                .as_ref()
                .is_err_and(|error| error.contains("a router may"));
            ensure!(refused, "{name}: {patch}: {changed:?}");
        }
    }
    let changed = change("given", json!({ "spec": { "host": null } })).await;
    ensure!(changed.is_err(), "a host is taken away");
    api.delete("given", &DeleteParams::default()).await?;
    sandbox.passed();
    Ok(())
}
