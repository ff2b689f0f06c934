//! Apps read the Secrets that are open to them and no others, and find their files.

use anyhow::{Context, Result, ensure};
use crds::{Visibility, WaveApp, WaveInstance};
use e2e::{Published, Store, condition, eventually, instance, kubectl, pack, wavestore};

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

/// The app again, by another name, and with another Secret.
fn reader(name: &str, secret: &str) -> Result<Vec<u8>> {
    let toml = include_str!("../../apps/secrets-and-files/app.toml");
    let toml = toml.replacen(&format!("\"{APP}\""), &format!("\"{name}\""), 1);
    let toml = toml.replace(SECRET, secret);
    pack(&[
        ("app.toml", toml.as_bytes()),
        file!("server.py"),
        file!("conf/bundled.txt"),
        file!("conf/default.txt"),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_secret_is_for_the_apps_of_its_owner() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let (own, others, secret) = ("e2e-private-own", "e2e-private-others", "e2e-private");
    store.delete(own).await?;
    kubectl(&["delete", "secret", secret, "--ignore-not-found"], None).await?;
    let url = format!("http://{}", store.host(""));
    let token = store.token("secrets").await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("private.env");
    std::fs::write(&file, "token=a token\nkey=a key\n")?;
    let file = file.to_str().context("a path")?;
    let set = ["secret", "set", secret, "--from-env-file", file];
    let made = wavestore(&url, &token, &set).await?;
    ensure!(made.success, "{made:?}");

    let bundle = reader(own, secret)?;
    let of_admin = store.submit(own, bundle, Visibility::AllUsers).await?;
    let bundle = reader(others, secret)?;
    let namespace = &store.namespace;
    let of_bob = namespace.submit(others, bundle, "e2e-bob", Visibility::Private);
    let of_bob = of_bob.await?;
    let words = [
        "[[Env]] TOKEN",
        secret,
        "private to the apps of another owner",
    ];
    says(&store, others, "Stalled", &words).await?;
    store
        .apply(own, instance(own, &store.admin, Visibility::Public))
        .await?;
    store.ready(own).await?;
    answers(&store, own).await?;
    let kept = wavestore(&url, &token, &["secret", "delete", secret]).await?;
    ensure!(
        !kept.success && kept.stderr.contains("apps read the secret"),
        "{kept:?}"
    );

    store.delete(own).await?;
    store.retract(&of_admin).await?;
    store.retract(&of_bob).await?;
    eventually("the secret to be deleted", async || {
        let deleted = wavestore(&url, &token, &["secret", "delete", secret]).await?;
        ensure!(deleted.success, "{deleted:?}");
        Ok(())
    })
    .await
}
