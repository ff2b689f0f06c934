//! Apps read the Secrets that are open to them and no others, and find their files.

use anyhow::{Context, Result, ensure};
use crds::{Visibility, WaveApp, WaveInstance};
use e2e::{Published, Store, condition, eventually, instance, kubectl, pack};

/// The app, its `WaveApp` and its folder.
const APP: &str = "secrets-and-files";

/// The Secret that it names.
const SECRET: &str = "e2e-app-secret";

/// What it answers.
const GIVEN: &str = "TOKEN: a token
EXTRA: None
conf/bundled.txt: bundled
conf/default.txt: default of app.toml
conf/settings.txt: settings of app.toml
/etc/secrets-and-files/key.txt: a key";

macro_rules! file {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!("../../apps/secrets-and-files/", $name)).as_slice(),
        )
    };
}

async fn submit(store: &Store) -> Result<Published> {
    let bundle = pack(&[
        file!("app.toml"),
        file!("server.py"),
        file!("conf/bundled.txt"),
        file!("conf/default.txt"),
    ])?;
    store.submit(APP, bundle, Visibility::AllUsers).await
}

/// Waits for a condition whose message has all these words.
async fn says(store: &Store, app: &str, type_: &str, words: &[&str]) -> Result<()> {
    eventually(&format!("{app} to be {type_}: {words:?}"), async || {
        let app = store.api::<WaveApp>().get(app).await?;
        let status = app.status.context("no status yet")?;
        let found = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == type_)
            .with_context(|| format!("instead: {:?}", status.conditions))?;
        for word in words {
            ensure!(found.message.contains(word), "it says: {}", found.message);
        }
        ensure!(status.runtime.is_none(), "instances could run it");
        Ok(())
    })
    .await
}

async fn answers(store: &Store, name: &str) -> Result<()> {
    eventually(&format!("{name} to tell what it was given"), async || {
        let answer = store.get(&store.host(name), "/").await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success() && text == GIVEN, "{status}: {text}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_gets_its_files_and_the_secrets_that_are_open() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let (name, other) = ("e2e-secrets", "e2e-secrets-late");
    store.delete(name).await?;
    store.delete(other).await?;
    kubectl(&["delete", "secret", SECRET, "--ignore-not-found"], None).await?;
    let published = submit(&store).await?;
    says(
        &store,
        APP,
        "Reconciling",
        &["[[Env]] TOKEN", SECRET, "does not exist"],
    )
    .await?;

    let (token, key) = ("--from-literal=token=a token", "--from-literal=key=a key");
    kubectl(&["create", "secret", "generic", SECRET, token, key], None).await?;
    let command = format!("`kubectl label secret {SECRET} wavestore.io/app-secret=true`");
    says(&store, APP, "Stalled", &["[[Env]] TOKEN", &command]).await?;

    kubectl(
        &["label", "secret", SECRET, "wavestore.io/app-secret=true"],
        None,
    )
    .await?;
    condition(&store.api::<WaveApp>(), APP, "Ready", |ready| {
        ready.status == "True"
    })
    .await?;
    let spec = instance(APP, &store.admin, Visibility::Public);
    store.apply(name, spec.clone()).await?;
    store.ready(name).await?;
    answers(&store, name).await?;

    // What runs goes on; nothing new begins.
    kubectl(
        &["label", "secret", SECRET, "wavestore.io/app-secret-"],
        None,
    )
    .await?;
    says(&store, APP, "Stalled", &[SECRET, "not open to apps"]).await?;
    store.apply(other, spec).await?;
    let instances = store.api::<WaveInstance>();
    condition(&instances, other, "Ready", |ready| {
        ready.reason == "AppNotReady"
    })
    .await?;
    answers(&store, name).await?;

    kubectl(
        &["label", "secret", SECRET, "wavestore.io/app-secret=true"],
        None,
    )
    .await?;
    answers(&store, other).await?;
    store.delete(name).await?;
    store.delete(other).await?;
    store.retract(&published).await?;
    kubectl(&["delete", "secret", SECRET], None).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stores_own_secrets_are_refused() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let cases = [
        (
            "e2e-own-env",
            "[[Env]]\nName = \"PASSWORD\"",
            "[[Env]] PASSWORD",
        ),
        (
            "e2e-own-file",
            "[[File]]\nPath = \"conf/p\"",
            "[[File]] /app/conf/p",
        ),
    ];
    for (name, table, entry) in cases {
        let toml = format!(
            "[App]\nName = \"{name}\"\nVersion = \"1.0.0\"\n[Runtime]\nModule = \"app\"\n\
             {table}\nSecret = \"wavestore-admin\"\nSecretKey = \"password\"\nOptional = true\n"
        );
        let bundle = pack(&[("app.toml", toml.as_bytes()), ("app.py", b"")])?;
        let published = store.submit(name, bundle, Visibility::Private).await?;
        let words = [entry, "`wavestore-admin`", "not open to apps"];
        says(&store, name, "Stalled", &words).await?;
        store.retract(&published).await?;
    }
    Ok(())
}
