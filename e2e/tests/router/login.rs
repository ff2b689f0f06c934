//! Signing in at a terminal by a browser: the real `wavestore` and a real browser against a router.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::{ADMIN, Browser, Output, Sandbox, eventually, start_wavestore, wavestore_of};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

use crate::instances::sign_in;

/// A terminal that has asked to be let in.
struct Waiting {
    child: Child,
    /// The address that it shows.
    page: String,
}

/// Asks to be let in, without a browser of its own.
async fn ask(settings: &Path, url: &str) -> Result<Waiting> {
    let mut child = start_wavestore(settings, &["login", url, "--no-browser", "-o", "json"])?;
    let stderr = child.stderr.take().context("it is piped")?;
    let mut lines = BufReader::new(stderr).lines();
    let line = timeout(e2e::PATIENCE, lines.next_line()).await??;
    let line = line.context("it says nothing")?;
    let page = line.split(' ').find(|word| word.starts_with("http"));
    let page = page.with_context(|| line.clone())?.to_owned();
    // Nobody reads what it says next, which is not to be in its way.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(Waiting { child, page })
}

impl Waiting {
    /// Whether it succeeds in the end, and what it prints.
    async fn end(mut self) -> Result<(bool, String)> {
        let status = timeout(e2e::PATIENCE, self.child.wait()).await??;
        let mut said = String::new();
        let mut stdout = self.child.stdout.take().context("it is piped")?;
        stdout.read_to_string(&mut said).await?;
        Ok((status.success(), said))
    }
}

fn json(output: &Output) -> Result<Value> {
    ensure!(output.success, "{output:?}");
    Ok(serde_json::from_str(&output.stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_lets_a_terminal_in_and_takes_that_back() -> Result<()> {
    let sandbox = Sandbox::create("login").await?;
    let runtimes =
        r#"--runtimes=[{"name": "python3.13", "image": "python", "aliases": ["latest"]}]"#;
    let sizes = r#"--sizes=[{"name": "large", "limits": {"memory": "8Gi"}}]"#;
    let router = sandbox.router().flag(runtimes).flag(sizes).start().await?;
    let url = router.store("");
    let settings = sandbox.folder().join("settings");
    let run = async |args: &[&str]| wavestore_of(&settings, args).await;
    let nobody = run(&["app", "list"]).await?;
    ensure!(
        !nobody.success && nobody.stderr.contains("you are not signed in"),
        "{nobody:?}"
    );

    let browser = Browser::start().await?;
    sign_in(&browser, &router).await?;
    let waiting = ask(&settings, &url).await?;
    browser.page.goto(&waiting.page).await?;
    browser.sees("asks to use the store’s API as you").await?;
    browser.looks("device").await?;
    browser.clicks("button[value=allow]").await?;
    browser.sees("The device is let in.").await?;
    browser.looks("device-let-in").await?;
    let (success, said) = waiting.end().await?;
    let account: Value = serde_json::from_str(&said)?;
    ensure!(success && account["name"] == ADMIN, "{said}");
    let listed = json(&run(&["token", "list", "-o", "json"]).await?)?;
    let name = listed[0]["name"].as_str().context("a name")?;
    ensure!(name.starts_with("wavestore"), "{listed}");
    let stores = run(&["config", "list"]).await?;
    ensure!(stores.success && stores.stdout.contains(&url), "{stores:?}");
    let offer = run(&["env"]).await?;
    ensure!(
        offer.success
            && offer.stdout.contains("python3.13, latest")
            && offer.stdout.contains("memory 8Gi"),
        "{offer:?}"
    );
    let sessions = run(&["session", "list"]).await?;
    ensure!(sessions.stdout.contains("Chrome"), "{sessions:?}");

    let refused = ask(&settings.join("other"), &url).await?;
    browser.page.goto(&refused.page).await?;
    browser.clicks("button[value=deny]").await?;
    browser.sees("The device is refused.").await?;
    let (success, said) = refused.end().await?;
    ensure!(!success, "{said}");
    browser.page.goto(&router.store("/device")).await?;
    browser.looks("device-code").await?;
    browser.fills("#code", "bcdf-ghjk").await?;
    browser.clicks("form.stack button").await?;
    browser.sees("No device waits with this code").await?;
    browser.looks("device-unknown").await?;

    let content = std::fs::read_to_string(settings.join("wavestore/settings.toml"))?;
    let out = run(&["logout"]).await?;
    ensure!(out.success && out.stderr.contains("Signed out"), "{out:?}");
    let gone = run(&["app", "list"]).await?;
    ensure!(gone.stderr.contains("you are not signed in"), "{gone:?}");
    // Whoever has kept a copy has nothing.
    std::fs::write(settings.join("wavestore/settings.toml"), content)?;
    eventually("the token to be revoked", async || {
        let revoked = run(&["app", "list"]).await?;
        ensure!(
            !revoked.success && revoked.stderr.contains("revoked"),
            "{revoked:?}"
        );
        Ok(())
    })
    .await?;
    browser.close().await?;
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_looks_after_accounts_from_a_terminal() -> Result<()> {
    let sandbox = Sandbox::create("admin").await?;
    let router = sandbox.router().start().await?;
    let (url, token) = (router.store(""), router.token("admin").await?);
    let run = async |args: &[&str]| {
        let args = [&["admin", "account"][..], args].concat();
        e2e::wavestore(&url, &token, &args).await
    };
    let made = json(&run(&["create", "carol", "--role", "visitor", "-o", "json"]).await?)?;
    ensure!(made["password"].is_string(), "{made}");
    let twice = run(&["create", "Carol", "--role", "full"]).await?;
    ensure!(
        !twice.success && twice.stderr.contains("`Carol`"),
        "{twice:?}"
    );
    for (args, field, expected) in [
        (&["get", "carol"][..], "role", Value::from("visitor")),
        (&["set-role", "carol", "full"], "role", "full".into()),
        (&["disable", "carol"], "disabled", true.into()),
        (&["enable", "carol"], "disabled", false.into()),
    ] {
        let told = json(&run(&[args, &["-o", "json"]].concat()).await?)?;
        ensure!(told[field] == expected, "{args:?}: {told}");
    }
    let reset = run(&["reset-password", "carol"]).await?;
    ensure!(
        reset.success && reset.stdout.trim().len() == 20 && !reset.stderr.contains(&reset.stdout),
        "{reset:?}"
    );
    let table = run(&["list"]).await?;
    ensure!(
        table.success && table.stdout.contains("carol") && table.stdout.contains("this store"),
        "{table:?}"
    );
    let unknown = run(&["get", "no body"]).await?;
    ensure!(!unknown.success, "{unknown:?}");
    let last = run(&["disable", ADMIN]).await?;
    ensure!(!last.success && last.stderr.contains(ADMIN), "{last:?}");
    sandbox.passed();
    Ok(())
}
