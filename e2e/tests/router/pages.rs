//! Every page of the store as people see it: wide and on a phone, in light and in the dark, checked by axe-core.

use anyhow::Result;
use crds::{Visibility, WaveApp, WaveInstance};
use e2e::{ADMIN, ADMIN_PASSWORD, Browser, Sandbox, condition, instance, pack};
use fantoccini::Locator;
use kube::api::PostParams;

const ABOUT: &str = "\
[App]
Name = \"forecast\"
Version = \"2.1.0\"
Title = \"Sales forecast\"
Description = \"Next quarter, by region and product\"
LongDescription = \"README.md\"
Tags = [\"sales\", \"planning\"]

[Runtime]
Module = \"app\"
";

const README: &str = "\
# What it is for
Read the *method* at [our pages](https://example.com/method), or look at `forecast.py`:

```python
forecast(region=\"north\", quarters=4)
```

- one line for each region
- and a [file](notes.md) that is not here

| region | source |
| --- | --- |
| north | warehouse |
| south | spreadsheets |

> Figures of the last quarter are preliminary.

<img src=\"x\" onerror=\"alert(1)\">
";

/// A bundle that says of itself what a bundle can.
fn forecast() -> Result<Vec<u8>> {
    pack(&[
        ("app.toml", ABOUT.as_bytes()),
        ("README.md", README.as_bytes()),
        ("app.py", b""),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_can_be_used_by_everybody() -> Result<()> {
    let sandbox = Sandbox::create("pages").await?;
    let _operator = sandbox.operator().start().await?;
    let router = sandbox
        .router()
        .flag("--max-instances-per-user=1")
        .flag("--max-memory-per-user=8Gi");
    let router = router.start().await?;
    let browser = Browser::start().await?;
    let see = async |path: &str, words: &str, name: &str| {
        browser.page.goto(&router.store(path)).await?;
        browser.sees(words).await?;
        browser.looks(name).await
    };

    see("/sign-in", "Sign in", "sign-in").await?;
    for (name, value) in [("name", ADMIN), ("password", "not it")] {
        let css = format!("input[name='{name}']:not([type=hidden])");
        let field = browser.page.find(Locator::Css(&css)).await?;
        field.send_keys(value).await?;
    }
    browser.clicks("form[action='/sign-in'] button").await?;
    browser.sees("Name or password is wrong").await?;
    browser.looks("sign-in-refused").await?;
    let password = Locator::Css("input[name=password]");
    browser
        .page
        .find(password)
        .await?
        .send_keys(ADMIN_PASSWORD)
        .await?;
    browser.clicks("form[action='/sign-in'] button").await?;
    browser.sees("You run nothing at the moment.").await?;
    browser.looks("home-empty").await?;
    see("/limits", "Nobody has an instance", "limits-empty").await?;

    sandbox.publish("hello", ADMIN).await?;
    sandbox
        .submit("forecast", forecast()?, ADMIN, Visibility::AllUsers)
        .await?;
    let apps = sandbox.api::<WaveApp>();
    condition(&apps, "forecast", "Ready", |ready| ready.status == "True").await?;
    let starting = instance("hello", ADMIN, Visibility::Private);
    let starting = WaveInstance::new("north", starting);
    let instances = sandbox.api::<WaveInstance>();
    instances.create(&PostParams::default(), &starting).await?;

    see("/", "Sales forecast", "home").await?;
    for button in ["liked", "pinned"] {
        let css = format!("input[value=forecast] ~ button[name={button}]");
        browser.clicks(&css).await?;
        browser.sees("♥ 1").await?;
    }
    browser.sees("Pinned").await?;
    browser.looks("home-pinned").await?;
    see(
        "/?q=nothing-like-it",
        "nothing-like-it",
        "home-nothing-found",
    )
    .await?;
    see("/apps/forecast/2.1.0", "What it is for", "app").await?;
    see(
        "/instances/north",
        "The store is at work on it.",
        "instance",
    )
    .await?;
    see("/instances", "north", "instances").await?;
    see("/publish", "Publish", "publish").await?;
    see("/account", "Your account", "account").await?;
    see("/accounts", "Accounts", "accounts").await?;
    see("/tags", "Tags", "tags").await?;
    see(
        "/limits",
        "1 of 1 instances · 512 MiB of 8 GiB of memory",
        "limits",
    )
    .await?;
    see("/audit", "signed in", "audit").await?;
    see("/secrets", "Secrets", "secrets-empty").await?;
    for (field, value) in [
        ("name", "database"),
        ("key", "password"),
        ("value", "hunter2"),
    ] {
        let css = format!("form.panel input[name='{field}']");
        let field = browser.page.find(Locator::Css(&css)).await?;
        field.send_keys(value).await?;
    }
    browser.clicks("form.panel button").await?;
    browser.sees("The secret is set.").await?;
    see("/secrets", "For all apps of admin", "secrets").await?;
    see("/nothing", "nothing at this address", "not-found").await?;

    // Asked first whether the browser is somebody's, on the instance's own host.
    browser.page.goto(&router.instance("north", "/")).await?;
    browser.sees("north").await?;
    browser.looks("waiting").await?;
    browser.close().await?;
    sandbox.passed();
    Ok(())
}
