//! OIDC providers as processes of this machine: a certified one, and one that misbehaves on demand. Both are Node programs
//! in `e2e/oidc`.

use std::{path::Path, process::Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::{PATIENCE, process::free_port};

const FOLDER: &str = "oidc";

/// Name of the store at both providers.
pub const CLIENT_ID: &str = "store";

/// Its secret.
pub const CLIENT_SECRET: &str = "the-store-s-secret";

/// A running provider. It is killed when it is dropped.
pub struct OidcProvider {
    process: Child,
    /// Read on, so that it is never stopped by a full pipe.
    lines: Lines<BufReader<ChildStdout>>,
    arguments: Vec<String>,
    port: u16,
}

impl OidcProvider {
    /// Starts the certified provider for the store at this address.
    ///
    /// # Errors
    /// Node or its packages are missing: `make test-router` installs them.
    pub async fn certified(store: &str) -> Result<Self> {
        let port = free_port()?;
        Self::start(
            vec!["provider.js".into(), port.to_string(), store.into()],
            port,
        )
        .await
    }

    /// Starts the provider that misbehaves on demand.
    ///
    /// # Errors
    /// As [`OidcProvider::certified`].
    pub async fn misbehaving() -> Result<Self> {
        let port = free_port()?;
        Self::start(vec!["issuer.js".into(), port.to_string()], port).await
    }

    async fn start(arguments: Vec<String>, port: u16) -> Result<Self> {
        let mut process = Command::new("node")
            .args(&arguments)
            .current_dir(FOLDER)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("could not start node: run `make prerequisites`")?;
        let stdout = process.stdout.take().context("stdout is piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                if line == "ready" {
                    return Ok(());
                }
            }
            ensure!(
                Path::new(FOLDER).join("node_modules").is_dir(),
                "its packages are missing: run `npm ci` in {FOLDER}"
            );
            anyhow::bail!("the provider ended")
        };
        tokio::time::timeout(PATIENCE, ready).await??;
        Ok(Self {
            process,
            lines,
            arguments,
            port,
        })
    }

    /// Its issuer.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends it.
    ///
    /// # Errors
    /// It has ended by itself.
    pub async fn stop(&mut self) -> Result<()> {
        self.process.kill().await?;
        while self.lines.next_line().await?.is_some() {}
        Ok(())
    }

    /// Starts it again at the same address, with new keys and no memory.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn restart(&mut self) -> Result<()> {
        *self = Self::start(self.arguments.clone(), self.port).await?;
        Ok(())
    }

    /// An access token of the program `robot` for this audience, from the certified provider.
    ///
    /// # Errors
    /// It refuses.
    pub async fn access_token(&self, audience: &str) -> Result<String> {
        let answer = reqwest::Client::new()
            .post(format!("{}/token", self.issuer()))
            .basic_auth("robot", Some("the-robot-s-secret"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!(
                "grant_type=client_credentials&scope=use&resource=http://{audience}"
            ))
            .send()
            .await?;
        let answer: Value = answer.error_for_status()?.json().await?;
        let token = answer["access_token"].as_str().context("no token")?;
        Ok(token.to_owned())
    }

    /// Has the misbehaving provider do something, and answers its words.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn tell(&self, what: &str, body: impl Into<reqwest::Body>) -> Result<String> {
        let url = format!("{}/{what}", self.issuer());
        let answer = reqwest::Client::new().post(url).body(body).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }
}
