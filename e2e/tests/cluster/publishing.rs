//! Apps that people publish: with a browser, and from a terminal.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use crds::WaveApp;
use e2e::{Browser, Store, kubectl, pack, wavestore};
use fantoccini::Locator;
use serde_json::Value;

fn manifest(name: &str, version: &str) -> String {
    format!(
        "[App]\nName = \"{name}\"\nVersion = \"{version}\"\nTitle = \"Published {version}\"\n[Runtime]\nModule = \"app\"\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_publishes_a_bundle_with_a_browser() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    kubectl(
        &[
            "delete",
            "waveapp",
            "e2e-by-browser-1.0.0",
            "--ignore-not-found",
        ],
        None,
    )
    .await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("app.wave");
    let manifest = manifest("e2e-by-browser", "1.0.0");
    std::fs::write(
        &file,
        pack(&[("app.toml", manifest.as_bytes()), ("app.py", b"print()")])?,
    )?;
    let broken = folder.path().join("broken.wave");
    std::fs::write(&broken, "no archive")?;

    let browser = Browser::start().await?;
    browser
        .page
        .goto(&format!("http://{}/publish", store.host("")))
        .await?;
    browser.sign_in(&store).await?;
    browser.sees("Publish an app").await?;
    browser.screenshot("publish").await?;
    let choose = async |file: &std::path::Path| -> Result<()> {
        let input = browser.page.find(Locator::Css("#bundle")).await?;
        input.send_keys(file.to_str().context("a path")?).await?;
        browser.clicks("#publish button").await
    };
    choose(&broken).await?;
    browser
        .sees("The archive is not a well-formed zip file")
        .await?;
    browser.screenshot("publish-refused").await?;
    choose(&file).await?;
    browser.sees("Published 1.0.0").await?;
    let app = store.api::<WaveApp>().get("e2e-by-browser-1.0.0").await?;
    ensure!(app.spec.owner == store.admin, "owned by {}", app.spec.owner);
    browser.close().await?;
    kubectl(&["delete", "waveapp", "e2e-by-browser-1.0.0"], None).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_tries_a_folder_and_nothing_of_it_stays() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let url = format!("http://{}", store.host(""));
    let token = store.token("e2e-trial").await?;
    let apps = Path::new(env!("CARGO_MANIFEST_DIR")).join("apps");
    let attempt = async |app: &str, more: &[&str]| {
        let folder = apps.join(app);
        let folder = folder.to_str().context("a path")?;
        wavestore(&url, &token, &[&["bundle", "test", folder], more].concat()).await
    };
    let ready = attempt("hello", &["-o", "json"]).await?;
    ensure!(ready.success, "{ready:?}");
    let instance: Value = serde_json::from_str(&ready.stdout)?;
    let version = instance["app"]["version"].as_str();
    ensure!(
        instance["ready"] == true
            && version.is_some_and(|version| version.starts_with("1.0.0-test.")),
        "{instance}"
    );
    let failed = attempt("crash-start", &[]).await?;
    ensure!(
        !failed.success
            && failed
                .stderr
                .contains("RuntimeError: the database password is missing"),
        "{failed:?}"
    );
    for said in [ready, failed] {
        ensure!(
            said.stderr.contains("Nothing of it is left in the store"),
            "{said:?}"
        );
    }
    let left = kubectl(&["get", "waveapps,waveinstances", "-o", "name"], None).await?;
    ensure!(!left.contains("-test."), "{left}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_publishes_a_folder_from_a_terminal() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    for name in ["e2e-by-terminal-1.0.0", "e2e-by-terminal-1.1.0"] {
        kubectl(&["delete", "waveapp", name, "--ignore-not-found"], None).await?;
    }
    let url = format!("http://{}", store.host(""));
    let token = store.token("e2e-terminal").await?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_str().context("a path")?;
    let write = |name: &str, content: &str| std::fs::write(folder.path().join(name), content);

    write("app.py", "print()")?;
    write("data.csv", "1,2")?;
    write(".appignore", "*.csv\n")?;
    let nothing = wavestore(&url, &token, &["bundle", "validate", path]).await?;
    ensure!(
        !nothing.success && nothing.stderr.contains("has no app.toml"),
        "{nothing:?}"
    );

    write("app.toml", &manifest("e2e-by-terminal", "1.0.0"))?;
    let deploy = [
        "bundle",
        "deploy",
        path,
        "--visibility",
        "all-users",
        "-o",
        "json",
    ];
    let deployed = wavestore(&url, &token, &deploy).await?;
    ensure!(deployed.success, "{deployed:?}");
    let published: Value = serde_json::from_str(&deployed.stdout)?;
    ensure!(published["state"] == "Ready", "{published}");
    let app = store.api::<WaveApp>().get("e2e-by-terminal-1.0.0").await?;
    let runtime = app.status.and_then(|status| status.runtime);
    ensure!(runtime.is_some(), "the operator has not imported it");

    let again = wavestore(&url, &token, &deploy).await?;
    ensure!(
        !again.success
            && again.stderr.contains("is published already")
            && again.stderr.contains("raise `Version`"),
        "{again:?}"
    );
    write("app.toml", &manifest("e2e-by-terminal", "1.1.0"))?;
    let next = wavestore(&url, &token, &deploy).await?;
    ensure!(next.success, "{next:?}");

    let stranger = wavestore(&url, "wst_nothing", &deploy).await?;
    ensure!(
        !stranger.success
            && stranger
                .stderr
                .contains("the token is unknown, expired or revoked"),
        "{stranger:?}"
    );
    for name in ["e2e-by-terminal-1.0.0", "e2e-by-terminal-1.1.0"] {
        kubectl(&["delete", "waveapp", name], None).await?;
    }
    Ok(())
}
