//! A real OCI registry, outside of the cluster, for those who know its password: `e2e/registry`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use http::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Certificate, Client, RequestBuilder, Response};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{Authority, PATIENCE, command::succeed};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// How a registry wants to be told who comes.
#[derive(Debug, Clone, Copy)]
pub enum Challenge {
    /// It takes the password itself.
    Basic,
    /// It sends whoever comes to an issuer of tokens.
    Bearer,
}

/// A running registry. It ends with this value, and forgets all.
pub struct Registry {
    /// Where it listens.
    pub address: SocketAddr,
    client: Client,
    _server: Child,
}

impl Registry {
    /// Who may use it.
    pub const NAME: &str = "store";
    /// How they prove that.
    pub const PASSWORD: &str = "the-password-of-the-registry";

    /// Starts it at an address that nobody has, and waits until it listens.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(
        address: SocketAddr,
        authority: &Authority,
        folder: &Path,
        challenge: Challenge,
    ) -> Result<Self> {
        let program = succeed("registry/server.sh", &[], None).await?;
        let identity = authority.issue(address.ip())?;
        let certificate = folder.join(format!("registry-{}.crt", address.port()));
        let key = folder.join(format!("registry-{}.key", address.port()));
        std::fs::write(&certificate, &identity.certificate)?;
        std::fs::write(&key, &identity.key)?;
        let mut server = Command::new(program.trim())
            .arg(address.to_string())
            .args([&certificate, &key])
            .args([Self::NAME, Self::PASSWORD])
            .arg(match challenge {
                Challenge::Basic => "basic",
                Challenge::Bearer => "bearer",
            })
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("could not start the registry")?;
        let stdout = server.stdout.take().context("stdout is piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await??;
        ensure!(line.as_deref() == Some("ready"), "it says {line:?}");
        let root = Certificate::from_pem(authority.certificate.as_bytes())?;
        Ok(Self {
            address,
            client: Client::builder().tls_certs_only([root]).build()?,
            _server: server,
        })
    }

    /// Pushes an artifact whose layers are these, by media type; gives the digest of its manifest.
    ///
    /// # Errors
    /// The registry refuses it.
    pub async fn push(
        &self,
        repository: &str,
        tag: &str,
        layers: &[(&str, &[u8])],
    ) -> Result<String> {
        let mut listed = Vec::new();
        for (media_type, content) in layers {
            listed.push(self.blob(repository, media_type, content).await?);
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": "application/vnd.wavestore.bundle.v1",
            "config": self.blob(repository, EMPTY, b"{}").await?,
            "layers": listed,
        });
        let manifest = manifest.to_string();
        let url = format!("https://{}/v2/{repository}/manifests/{tag}", self.address);
        let request = self.client.put(url).header(CONTENT_TYPE, MANIFEST);
        send(request.body(manifest.clone())).await?;
        Ok(digest(manifest.as_bytes()))
    }

    /// Uploads a blob, and describes it.
    async fn blob(&self, repository: &str, media_type: &str, content: &[u8]) -> Result<Value> {
        let begin = format!("https://{}/v2/{repository}/blobs/uploads/", self.address);
        let answer = send(self.client.post(&begin)).await?;
        let place = answer.headers().get(LOCATION).context("Location")?;
        let place = url::Url::parse(&begin)?.join(place.to_str()?)?;
        let digest = digest(content);
        let request = self.client.put(place).query(&[("digest", &digest)]);
        send(request.body(content.to_vec())).await?;
        Ok(json!({ "mediaType": media_type, "digest": digest, "size": content.len() }))
    }
}

async fn send(request: RequestBuilder) -> Result<Response> {
    let login = request.basic_auth(Registry::NAME, Some(Registry::PASSWORD));
    Ok(login.send().await?.error_for_status()?)
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}
