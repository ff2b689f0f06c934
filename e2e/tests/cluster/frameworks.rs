//! Apps of other frameworks than Wave, each with its own way to talk to its page: WebSockets, server-sent events, plain requests.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::{Visibility, WaveApp};
use e2e::{Browser, Published, Store, condition, instance};
use fantoccini::key::Key;
use futures::future::try_join_all;
use tokio::time::timeout;

/// An app of `e2e/apps`, and how its form is used.
struct App {
    name: &'static str,
    /// Below a path of the host that all apps share.
    has_base: bool,
    title: &'static str,
    field: &'static str,
    button: Option<&'static str>,
}

/// How long one use of an app may take, and how often it is tried by a browser that is cut off.
const AT_MOST: Duration = Duration::from_mins(1);
const TRIES: usize = 5;

const APPS: [App; 5] = [
    App {
        name: "streamlit",
        has_base: false,
        title: "Hello Streamlit",
        field: "input[type=text]",
        button: None,
    },
    App {
        name: "streamlit-base",
        has_base: true,
        title: "Hello Streamlit",
        field: "input[type=text]",
        button: None,
    },
    App {
        name: "gradio",
        has_base: false,
        title: "Hello Gradio",
        field: "#name textarea, #name input",
        button: Some("#greet"),
    },
    App {
        name: "dash-base",
        has_base: true,
        title: "Hello Dash",
        field: "#name",
        button: None,
    },
    App {
        name: "fastapi",
        has_base: false,
        title: "Hello FastAPI",
        field: "input[name=name]",
        button: Some("button"),
    },
];

impl App {
    fn instance(&self) -> String {
        format!("e2e-{}", self.name)
    }

    fn url(&self, store: &Store) -> String {
        let name = self.instance();
        if self.has_base {
            format!("http://{}/instance/{name}/", store.host("apps"))
        } else {
            format!("http://{}/", store.host(&name))
        }
    }

    async fn publish(&self, store: &Store) -> Result<Published> {
        store.delete(&self.instance()).await?;
        store.publish(self.name).await
    }

    /// Runs it from the environment that a job has built.
    async fn run(&self, store: &Store) -> Result<()> {
        let apps = store.api::<WaveApp>();
        condition(&apps, self.name, "EnvironmentReady", |ready| {
            ready.status == "True"
        })
        .await?;
        let spec = instance(self.name, &store.admin, Visibility::Private);
        store.apply(&self.instance(), spec).await?;
        Ok(())
    }

    /// Uses it, and again when the browser was cut off meanwhile.
    async fn is_used(&self, store: &Store, browser: &Browser) -> Result<()> {
        for _ in 1..TRIES {
            let used = timeout(AT_MOST, self.is_used_once(store, browser)).await;
            match used.context("it takes too long").flatten() {
                Err(_) if browser.was_cut_off().await? => {}
                used => return used,
            }
        }
        self.is_used_once(store, browser).await
    }

    /// Fills its form, and sees what Python has made of that.
    async fn is_used_once(&self, store: &Store, browser: &Browser) -> Result<()> {
        browser.page.goto(&self.url(store)).await?;
        browser.sees(self.title).await?;
        browser.fills(self.field, "Ada").await?;
        if let Some(button) = self.button {
            browser.clicks(button).await?;
        } else {
            let enter = char::from(Key::Enter).to_string();
            browser.fills(self.field, &enter).await?;
        }
        browser.sees("Hello, Ada! Backwards you are adA.").await?;
        // What signed them in is the store's own business.
        let page = browser.reads("body").await?;
        let (_, cookies) = page
            .split_once("Cookies: ")
            .context("it tells its cookies")?;
        ensure!(!cookies.contains("wavestore"), "the app sees {cookies}");
        let at = browser.page.current_url().await?;
        ensure!(
            at.as_str().starts_with(&self.url(store)),
            "the browser ended up at {at}"
        );
        browser.screenshot(self.name).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_of_other_frameworks_talk_to_their_pages() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let published = try_join_all(APPS.iter().map(|app| app.publish(&store))).await?;
    // Two are built at once, so the last one waits for the others.
    for app in &APPS {
        let run = app.run(&store).await;
        run.with_context(|| format!("{} does not start", app.name))?;
    }
    let names = APPS.iter().map(App::instance);
    try_join_all(names.map(async |name| store.ready(&name).await)).await?;

    let browser = Browser::start().await?;
    browser
        .page
        .goto(&format!("http://{}/", store.host("")))
        .await?;
    browser.sign_in(&store).await?;
    browser.sees("Hello Streamlit").await?;
    for app in &APPS {
        let used = app.is_used(&store, &browser).await;
        used.with_context(|| format!("{} cannot be used", app.name))?;
    }
    browser.close().await?;
    for (app, published) in APPS.iter().zip(&published) {
        store.delete(&app.instance()).await?;
        store.retract(published).await?;
    }
    Ok(())
}
