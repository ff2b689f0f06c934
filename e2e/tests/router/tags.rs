//! Tags from the bundle to the visitor: imported by an operator, said what they are from a terminal, seen in a browser.

use anyhow::{Context, Result, ensure};
use e2e::{Browser, Router, Sandbox, User, eventually, pack, wavestore};
use fantoccini::Locator;

/// Makes an account for a visitor; answers its one-time password.
async fn invite(admin: &mut User, name: &str) -> Result<String> {
    let fields = [("name", name), ("role", "Visitor")];
    let page = admin.submit("/accounts", &fields).await?.text().await?;
    let shown = page.split_once("id=\"one-time-password\">");
    let password = shown.and_then(|(_, rest)| rest.split('<').next());
    Ok(password.context("no password is shown")?.to_owned())
}

/// Whether everything on the page is as wide as the window at most.
async fn fits(browser: &Browser) -> Result<()> {
    let script = "return document.documentElement.scrollWidth <= window.innerWidth";
    let fits = browser.page.execute(script, Vec::new()).await?;
    ensure!(fits == true, "the page is wider than the window");
    Ok(())
}

/// Publishes two apps for all users.
async fn publish(sandbox: &Sandbox, url: &str, token: &str) -> Result<()> {
    for (name, tags) in [("Greeter", "[\"greetings\", \"x\"]"), ("Secret", "[\"x\"]")] {
        let manifest = format!(
            "[App]\nName = \"{name}\"\nVersion = \"1.0.0\"\nTitle = \"The {name}\"\nTags = {tags}\n\n[Runtime]\nModule = \"app\"\n"
        );
        let bundle = pack(&[("app.toml", manifest.as_bytes()), ("app.py", b"print()")])?;
        let file = sandbox.folder().join(format!("{name}.wave"));
        std::fs::write(&file, &bundle)?;
        let path = file.to_str().context("a path")?;
        let output = wavestore(
            url,
            token,
            &["bundle", "deploy", path, "--visibility", "all-users"],
        )
        .await?;
        ensure!(output.success, "{output:?}");
    }
    Ok(())
}

/// A browser in which somebody has signed in.
async fn sign_in(router: &Router, name: &str, password: &str) -> Result<Browser> {
    let browser = Browser::start().await?;
    browser.page.goto(&router.store("/")).await?;
    for (field, value) in [("name", name), ("password", password)] {
        let field = format!("input[name='{field}']:not([type=hidden])");
        let field = browser
            .page
            .wait()
            .for_element(Locator::Css(&field))
            .await?;
        field.send_keys(value).await?;
    }
    browser.clicks("form[action='/sign-in'] button").await?;
    browser.sees("Signed in as").await?;
    Ok(browser)
}

/// Asks for the apps with a tag as on a phone, by the keyboard.
async fn filter_on_a_phone(vera: &Browser) -> Result<()> {
    vera.page.set_window_size(500, 900).await?;
    fits(vera).await?;
    let summary = vera.page.find(Locator::Css("details.filters summary"));
    summary.await?.send_keys(" ").await?;
    let tag = vera.page.wait().for_element(Locator::Css("#tag")).await?;
    tag.send_keys("greetings\u{e007}").await?;
    vera.sees("What says hello").await?;
    let reads = vera.reads(".cards .tags a").await?;
    ensure!(reads == "Warm greetings", "{reads}");
    fits(vera).await?;
    vera.screenshot("filtered").await?;
    let at = vera.page.current_url().await?;
    ensure!(
        at.query()
            .is_some_and(|query| query.contains("tag=greetings")),
        "{at}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_finds_what_is_tagged_for_visitors() -> Result<()> {
    let sandbox = Sandbox::create("tags").await?;
    let mut operator = sandbox.operator().start().await?;
    let router = sandbox.router().start().await?;
    let (url, token) = (router.store(""), router.token("tags").await?);
    let run = async |args: &[&str]| {
        let output = wavestore(&url, &token, args).await?;
        ensure!(output.success, "{args:?}: {output:?}");
        Ok(output)
    };
    publish(&sandbox, &url, &token).await?;
    let password = invite(&mut router.admin().await?, "vera").await?;
    let vera = sign_in(&router, "vera", &password).await?;
    vera.page.goto(&router.store("/")).await?;
    vera.sees("There is no app that you may see yet.").await?;

    let set = [
        "tag",
        "set",
        "greetings",
        "--title",
        "Warm greetings",
        "--color",
        "#ffcc00",
    ];
    run(&[&set[..], &["--visitor-role", "store:visitor"]].concat()).await?;
    let looks = [
        "tag",
        "set",
        "greetings",
        "--description",
        "What says hello",
    ];
    let table = run(&looks).await?;
    ensure!(
        table.stdout.contains("store:visitor") && table.stdout.contains("Warm greetings"),
        "what was not named is gone: {}",
        table.stdout
    );
    eventually("the app to be there for visitors", async || {
        vera.page.goto(&router.store("/")).await?;
        let body = vera.page.find(Locator::Css("main")).await?.text().await?;
        ensure!(body.contains("The Greeter"), "{body}");
        ensure!(!body.contains("The Secret"), "{body}");
        Ok(())
    })
    .await?;
    filter_on_a_phone(&vera).await?;
    vera.page.goto(&router.store("/?tag=x&q=secret")).await?;
    vera.sees("No app that you may see is all that you ask for.")
        .await?;

    let app = [
        "app",
        "update",
        "Secret:1.0.0",
        "--tag",
        "greetings",
        "--tag",
        "late",
    ];
    let updated = run(&app).await?;
    ensure!(updated.success, "{updated:?}");
    eventually("the other app to be there as well", async || {
        vera.page.goto(&router.store("/?tag=late")).await?;
        let body = vera.page.find(Locator::Css("main")).await?.text().await?;
        ensure!(body.contains("The Secret"), "{body}");
        Ok(())
    })
    .await?;
    run(&["tag", "delete", "greetings"]).await?;
    eventually("both to be gone for visitors", async || {
        vera.page.goto(&router.store("/")).await?;
        let body = vera.page.find(Locator::Css("main")).await?.text().await?;
        ensure!(
            !body.contains("The Secret") && !body.contains("The Greeter"),
            "{body}"
        );
        Ok(())
    })
    .await?;
    vera.close().await?;
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}
