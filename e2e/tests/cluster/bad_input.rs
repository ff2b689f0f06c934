//! Bad input gets an error that names field or file and the fix, and leaves nothing behind.

use std::io::{Cursor, Write};

use anyhow::{Context, Result, ensure};
use base64::prelude::*;
use crds::{Visibility, WaveApp, WaveInstance};
use e2e::{Store, condition, helm, instance, kubectl, pack};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use sha2::{Digest, Sha256};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

const GOOD: &str =
    "[App]\nName = \"bad-input\"\nVersion = \"1.0.0\"\n[Runtime]\nModule = \"app\"\n";

fn bomb() -> Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let deflated = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    zip.start_file("app.toml", deflated)?;
    zip.write_all(GOOD.as_bytes())?;
    zip.start_file("zeros", deflated)?;
    for _ in 0..200 {
        zip.write_all(&vec![0; 1 << 20])?;
    }
    Ok(zip.finish()?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_bundles_are_refused_with_a_reason() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let toml = |text: &str| pack(&[("app.toml", text.as_bytes()), ("app.py", b"")]);
    let cases: [(&str, Vec<u8>, &[&str]); 8] = [
        ("e2e-bad-zip", b"this is no archive".to_vec(), &["zip"]),
        ("e2e-bad-bomb", bomb()?, &["zeros"]),
        (
            "e2e-bad-traversal",
            pack(&[("app.toml", GOOD.as_bytes()), ("../../etc/passwd", b"x")])?,
            &["../../etc/passwd"],
        ),
        ("e2e-bad-no-toml", pack(&[("app.py", b"")])?, &["app.toml"]),
        (
            "e2e-bad-syntax",
            toml("[App]\nName = \n")?,
            &["app.toml", "line 2"],
        ),
        (
            "e2e-bad-key",
            toml(&GOOD.replace(
                "Module = \"app\"",
                "Module = \"app\"\nMemoryLimit = \"2GB\"",
            ))?,
            &["MemoryLimit", "2GB"],
        ),
        (
            "e2e-bad-version",
            toml(&GOOD.replace("1.0.0", "one"))?,
            &["Version", "one"],
        ),
        (
            "e2e-bad-module",
            toml(&GOOD.replace("Module = \"app\"", ""))?,
            &["Module"],
        ),
    ];
    for (name, bundle, words) in cases {
        let published = store.submit(name, bundle, Visibility::Private).await?;
        let message = condition(&store.api::<WaveApp>(), name, "Stalled", |_| true)
            .await?
            .message;
        for word in words {
            ensure!(
                message.contains(word),
                "{name}: the message does not name `{word}`: {message}"
            );
        }
        let blobs = in_operator("ls /data/blobs/bundles/sha256", None).await?;
        let hex = published.digest.trim_start_matches("sha256:");
        ensure!(!blobs.contains(hex), "{name}: the bundle was left behind");
        store.retract(&published).await?;
    }
    Ok(())
}

/// Runs a script in the operator's pod, where the store's volume is.
async fn in_operator(script: &str, stdin: Option<&str>) -> Result<String> {
    let exec = ["exec", "--stdin", "deployment/wavestore-operator", "--"];
    kubectl(&[&exec[..], &["sh", "-c", script]].concat(), stdin).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_in_the_import_folder_is_imported_by_its_digest() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let name = "e2e-import-folder";
    let bundle = pack(&[
        ("app.toml", GOOD.replace("bad-input", name).as_bytes()),
        ("app.py", b""),
    ])?;
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(&bundle)));
    let write = "mkdir -p /data/imports && base64 -d > /data/imports/e2e.wave";
    in_operator(write, Some(&BASE64_STANDARD.encode(&bundle))).await?;

    let app = json!({
        "apiVersion": "wavestore.io/v1alpha1",
        "kind": "WaveApp",
        "metadata": { "name": name },
        "spec": { "bundle": { "url": "file:///e2e.wave", "digest": digest }, "owner": "alice" },
    });
    let apps = store.api::<WaveApp>();
    apps.patch(name, &PatchParams::apply("e2e"), &Patch::Apply(&app))
        .await?;
    condition(&apps, name, "Ready", |ready| ready.status == "True").await?;
    kubectl(&["delete", "waveapp", name], None).await?;
    in_operator("rm /data/imports/e2e.wave", None).await?;
    Ok(())
}

async fn stalled_source(store: &Store, name: &str, bundle: serde_json::Value) -> Result<String> {
    let app = json!({
        "apiVersion": "wavestore.io/v1alpha1",
        "kind": "WaveApp",
        "metadata": { "name": name },
        "spec": { "bundle": bundle, "owner": "alice" },
    });
    store
        .api::<WaveApp>()
        .patch(name, &PatchParams::apply("e2e"), &Patch::Apply(&app))
        .await?;
    let apps = store.api::<WaveApp>();
    let ready = condition(&apps, name, "Ready", |ready| ready.status == "False").await?;
    kubectl(&["delete", "waveapp", name], None).await?;
    Ok(ready.message)
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_that_do_not_give_the_bundle_are_named() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let other = format!("sha256:{}", "0".repeat(64));
    let published = store
        .submit(
            "e2e-bad-source",
            pack(&[("app.toml", GOOD.as_bytes())])?,
            Visibility::Private,
        )
        .await?;
    let map = "bundle-e2e-bad-source";

    let wrong = json!({ "digest": other, "configMapRef": { "name": map, "key": "app.wave" } });
    let message = stalled_source(&store, "e2e-bad-digest", wrong).await?;
    ensure!(
        message.contains(&other) && message.contains(&published.digest),
        "both digests should be named: {message}"
    );

    let inside = json!({ "digest": other, "url": "https://kubernetes.default.svc/app.wave" });
    let message = stalled_source(&store, "e2e-bad-url", inside).await?;
    ensure!(
        message.contains("https://kubernetes.default.svc/app.wave")
            && message.contains("is not on the public internet"),
        "the url and what is wrong with it should be named: {message}"
    );

    let missing = json!({ "configMapRef": { "name": "no-such-map", "key": "app.wave" } });
    let message = stalled_source(&store, "e2e-bad-map", missing).await?;
    ensure!(
        message.contains("no-such-map"),
        "the ConfigMap should be named: {message}"
    );

    let outside = json!({ "digest": other, "url": "file:///../../etc/passwd" });
    let message = stalled_source(&store, "e2e-bad-file", outside).await?;
    ensure!(
        message.contains("etc/passwd"),
        "the path should be named: {message}"
    );
    store.retract(&published).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_itself_refuses_bad_instances() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let app = json!({ "name": "hello", "version": "1.0.0" });
    let long = "x".repeat(54);
    let cases = [
        (
            "e2e-bad",
            json!({ "app": app, "owner": "no spaces please" }),
            "an owner is a user name",
        ),
        (
            "e2e-bad",
            json!({ "app": app, "owner": "alice", "visibility": "Everybody" }),
            "visibility",
        ),
        ("e2e-bad", json!({ "app": app }), "owner"),
        (
            "e2e-bad",
            json!({ "app": { "name": "-", "version": "1.0.0" }, "owner": "alice" }),
            "app.name",
        ),
        (
            &long,
            json!({ "app": app, "owner": "alice" }),
            "at most 53 characters",
        ),
        (
            "e2e.bad",
            json!({ "app": app, "owner": "alice" }),
            "DNS label",
        ),
        ("apps", json!({ "app": app, "owner": "alice" }), "reserved"),
    ];
    for (name, spec, words) in cases {
        let message = store.refused(name, spec.clone()).await?;
        ensure!(
            message.contains(words),
            "{spec}: the message does not say `{words}`: {message}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_does_not_exist_is_named_to_kubectl_and_helm_users() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    store.publish("hello").await?;
    let name = "e2e-no-app";
    store.delete(name).await?;
    store
        .apply(
            name,
            instance("no-such-app", &store.admin, Visibility::Private),
        )
        .await?;
    let instances = store.api::<WaveInstance>();
    condition(&instances, name, "Ready", |ready| {
        ready.reason == "AppNotFound" && ready.message.contains("no-such-app")
    })
    .await?;
    store.delete(name).await?;

    let chart = "../config/wave-instance";
    let refused = helm(&[
        "install",
        name,
        chart,
        "--set-string",
        "app.name=no-such-app,app.version=1.0.0,owner=alice",
    ])
    .await;
    let words = refused
        .err()
        .context("helm installed an app that does not exist")?
        .to_string();
    ensure!(words.contains("no-such-app"), "helm says: {words}");
    store.gone(name).await
}

/// Helm is told to take over what it finds; what is not an instance's it must leave alone.
#[tokio::test(flavor = "multi_thread")]
async fn the_stores_own_names_cannot_be_taken() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    store.publish("hello").await?;
    let services = store.api::<Service>();
    for (name, reason) in [
        ("wavestore", "ForeignChart"),
        ("wavestore-internal", "NameTaken"),
    ] {
        let before = services.get(name).await?;
        let spec = instance("hello", &store.admin, Visibility::Public);
        store.apply(name, spec).await?;
        let instances = store.api::<WaveInstance>();
        condition(&instances, name, "Stalled", |stalled| {
            stalled.reason == reason
        })
        .await?;
        let page = store.get(&store.host(name), "/").await?;
        ensure!(
            !page.status().is_success(),
            "{name} answers {}",
            page.status()
        );
        kubectl(&["delete", "waveinstance", name], None).await?;
        let after = services.get(name).await?;
        ensure!(
            before.metadata.resource_version == after.metadata.resource_version,
            "{name} was changed"
        );
    }
    Ok(())
}
