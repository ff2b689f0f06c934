//! A real browser: Debian's Chromium, driven through chromedriver.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{Store, eventually, web_driver};

/// One browser with a profile of its own. Call [`Browser::close`]; a dropped one is killed.
pub struct Browser {
    driver: Child,
    /// The `WebDriver` session.
    pub page: Client,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser without any cookie.
    ///
    /// # Errors
    /// Chromium or chromedriver is missing: `make prerequisites` installs them.
    pub async fn start() -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("could not start chromedriver: run `make prerequisites`")?;
        let mut lines = BufReader::new(driver.stdout.take().context("stdout is piped")?).lines();
        let port = loop {
            let line = lines.next_line().await?.context("chromedriver ended")?;
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        let capabilities = json!({
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": {
                "args": [
                    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                    "--disable-background-networking", "--disable-component-update", "--disable-sync",
                    "--window-size=1280,900",
                    format!("--user-data-dir={}", profile.path().display()),
                ],
            },
        });
        let page = ClientBuilder::new(HttpConnector::new())
            .capabilities(serde_json::from_value(capabilities)?)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .context("could not start Chromium")?;
        Ok(Self {
            driver,
            page,
            _profile: profile,
        })
    }

    /// Signs in as the admin on the store's own page, wherever the browser was sent from, and ends up where it wanted to go.
    ///
    /// # Errors
    /// The form is not there.
    pub async fn sign_in(&self, store: &Store) -> Result<()> {
        let name = self
            .page
            .wait()
            .for_element(Locator::Css("input[name=name]"))
            .await?;
        name.send_keys(&store.admin).await?;
        self.page
            .find(Locator::Css("input[name=password]"))
            .await?
            .send_keys(&store.password)
            .await?;
        self.page
            .find(Locator::Css("main form button[type=submit]"))
            .await?
            .click()
            .await?;
        Ok(())
    }

    /// Waits until the page shows `text`.
    ///
    /// # Errors
    /// It does not; the error holds what it shows instead.
    pub async fn sees(&self, text: &str) -> Result<()> {
        eventually(&format!("`{text}` on the page"), async || {
            let body = self.page.find(Locator::Css("body")).await?.text().await?;
            let at = self.page.current_url().await?;
            ensure!(body.contains(text), "{at} shows: {body}");
            Ok(())
        })
        .await
    }

    /// Whether the browser has given up loading something since this was asked last, because a network interface of the machine came
    /// or went, as those of pods do. No page can help that; a person loads it again.
    ///
    /// # Errors
    /// It does not say.
    pub async fn was_cut_off(&self) -> Result<bool> {
        let log = self.page.issue_cmd(web_driver::Command::log()).await?;
        Ok(log.to_string().contains("ERR_NETWORK_CHANGED"))
    }

    /// Types into a Wave component of the given name.
    ///
    /// # Errors
    /// There is none.
    pub async fn types(&self, component: &str, text: &str) -> Result<()> {
        self.fills(&format!("[data-test={component}]"), text).await
    }

    /// Types into what a CSS selector finds first.
    ///
    /// # Errors
    /// There is none.
    pub async fn fills(&self, css: &str, text: &str) -> Result<()> {
        let field = self.page.wait().for_element(Locator::Css(css)).await?;
        field.send_keys(text).await?;
        Ok(())
    }

    /// Clicks what a CSS selector finds first.
    ///
    /// # Errors
    /// There is none.
    pub async fn clicks(&self, css: &str) -> Result<()> {
        let button = self.page.wait().for_element(Locator::Css(css)).await?;
        button.click().await?;
        Ok(())
    }

    /// The text of what a CSS selector finds first.
    ///
    /// # Errors
    /// There is none.
    pub async fn reads(&self, css: &str) -> Result<String> {
        let element = self.page.wait().for_element(Locator::Css(css)).await?;
        Ok(element.text().await?)
    }

    /// Ends the browser and its driver.
    ///
    /// # Errors
    /// They do not end.
    pub async fn close(mut self) -> Result<()> {
        self.page.close().await?;
        self.driver.kill().await?;
        Ok(())
    }
}
