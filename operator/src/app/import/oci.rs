//! Bundles in OCI registries: `oci://registry.example.com/apps/sales:1.2.0`, an artifact with the bundle as its one layer of
//! the media type [`BUNDLE`]. Every host that a registry names on the way is checked like that of a url.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use catalog::Digest;
use http::header::{ACCEPT, AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use http_auth::{ChallengeRef, parse_challenges};
use reqwest::{Client, Response};
use serde::Deserialize;
use url::Url;

use super::{Error, Hosts};

/// Media type of a bundle.
pub(super) const BUNDLE: &str = "application/vnd.wavestore.bundle.v1+zip";

/// Media type of the list of what an artifact consists of.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// How large a manifest, and any other answer but a bundle, may be. Registries take none that is larger.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// How many media types an error names.
const LAYERS_TOLD: usize = 8;

/// What a registry has instead of a bundle.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoBundle {
    /// The manifest is of another kind, or damaged.
    #[error("its manifest cannot be read as one of an artifact")]
    Manifest,
    /// The manifest is another one than was asked for.
    #[error("its manifest has another digest")]
    OtherManifest,
    /// Other files, or none.
    #[error("it has {bundles} layers of the media type {BUNDLE}, not one; its layers are [{}]", .layers.join(", "))]
    Layers {
        /// How many bundles it has.
        bundles: usize,
        /// The media types of all it has.
        layers: Vec<String>,
    },
    /// A digest of another kind than SHA-256.
    #[error("the digest of its bundle is no SHA-256")]
    Digest,
}

/// What `oci://` addresses name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    registry: String,
    repository: String,
    version: Version,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Version {
    Tag(String),
    /// Digest of the manifest, by which nobody can exchange what it names.
    Digest(Digest),
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl Reference {
    /// Reads `<registry>/<repository>:<tag>`, `...@sha256:<digest>`, or both, of which the digest counts.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "write oci://<registry>/<repository>:<tag> or oci://<registry>/<repository>@sha256:<64 hex digits>";
        let (registry, rest) = text.split_once('/').ok_or(FORM)?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| FORM)?)),
            None => (rest, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        let version = match (digest, tag) {
            (Some(digest), None) => Version::Digest(digest),
            (Some(digest), Some(tag)) if is_tag(tag) => Version::Digest(digest),
            (None, Some(tag)) if is_tag(tag) => Version::Tag(tag.to_owned()),
            _ => return Err(FORM),
        };
        if !is_registry(registry) || !is_repository(repository) {
            return Err(FORM);
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            version,
        })
    }

    /// Whether nobody can exchange what it names.
    pub(super) const fn is_pinned(&self) -> bool {
        matches!(self.version, Version::Digest(_))
    }

    fn url(&self, kind: &str, name: &dyn fmt::Display) -> Url {
        let Self {
            registry,
            repository,
            ..
        } = self;
        format!("https://{registry}/v2/{repository}/{kind}/{name}")
            .parse()
            .expect("registry and repository were checked")
    }
}

/// A host with or without a port, and nothing that an address would read otherwise.
fn is_registry(text: &str) -> bool {
    let plain = |char: char| char.is_ascii_alphanumeric() || "-._:[]".contains(char);
    text.chars().all(plain)
        && Url::parse(&format!("https://{text}/"))
            .is_ok_and(|url| url.host_str().is_some_and(|host| !host.is_empty()))
}

/// By the grammar of the distribution specification, a little wider.
fn is_repository(text: &str) -> bool {
    let is_component = |component: &str| {
        let plain =
            |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || "-._".contains(char);
        component.starts_with(|first: char| first.is_ascii_alphanumeric())
            && component.chars().all(plain)
    };
    text.len() <= 255 && text.split('/').all(is_component)
}

fn is_tag(text: &str) -> bool {
    let plain = |char: char| char.is_ascii_alphanumeric() || "-._".contains(char);
    (1..=128).contains(&text.len()) && !text.starts_with(['-', '.']) && text.chars().all(plain)
}

/// Names and passwords for registries, in the form of Docker's and Kubernetes' own (`kubernetes.io/dockerconfigjson`).
#[derive(Default, Deserialize)]
pub(super) struct Logins {
    #[serde(default)]
    auths: BTreeMap<String, Login>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Login {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Logins {
    /// Reads them anew for every bundle: a Secret that is changed counts at once.
    pub(super) fn read(file: &Path) -> Result<Self, Error> {
        let failed = |source| Error::RegistryConfig {
            file: file.to_owned(),
            source,
        };
        let bytes = std::fs::read(file).map_err(failed)?;
        // Serde's words may repeat what is in the file.
        serde_json::from_slice(&bytes)
            .map_err(|_| failed(std::io::Error::other("it is no dockerconfigjson")))
    }

    /// `<name>:<password>` in Base64, as the header wants it.
    fn basic(&self, registry: &str) -> Option<String> {
        let Login {
            auth,
            username,
            password,
        } = self.auths.iter().find_map(|(key, login)| {
            let host = key.split_once("://").map_or(&**key, |(_, host)| host);
            let host = host.split('/').next().unwrap_or_default();
            host.eq_ignore_ascii_case(registry).then_some(login)
        })?;
        let pair = || Some(format!("{}:{}", username.as_ref()?, password.as_ref()?));
        auth.clone()
            .filter(|auth| !auth.is_empty())
            .or_else(|| pair().map(|pair| BASE64_STANDARD.encode(pair)))
    }
}

/// A bundle that a registry is about to send.
pub(super) struct Sent {
    pub(super) digest: Digest,
    pub(super) response: Response,
}

/// One artifact's registry.
pub(super) struct Registry<'a> {
    pub(super) client: &'a Client,
    pub(super) hosts: &'a Hosts,
    pub(super) reference: &'a Reference,
    pub(super) logins: &'a Logins,
}

#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: String,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Registry<'_> {
    /// Asks for the artifact's manifest, and then for the bundle that it names.
    pub(super) async fn fetch(&self, url: &str) -> Result<Sent, Error> {
        let no_bundle = |reason| Error::Artifact {
            url: url.to_owned(),
            reason,
        };
        let Reference { version, .. } = self.reference;
        let (response, authorization) = self
            .get(&self.reference.url("manifests", version), None)
            .await?;
        let manifest = whole(response).await?;
        if let Version::Digest(expected) = version
            && Digest::of(&manifest) != *expected
        {
            return Err(no_bundle(NoBundle::OtherManifest));
        }
        let digest = bundle_of(&manifest).map_err(no_bundle)?;
        let (response, _) = self
            .get(&self.reference.url("blobs", &digest), authorization)
            .await?;
        Ok(Sent { digest, response })
    }

    /// Asks, and asks again with what the registry wants to see.
    async fn get(
        &self,
        url: &Url,
        authorization: Option<HeaderValue>,
    ) -> Result<(Response, Option<HeaderValue>), Error> {
        let mut authorization = authorization;
        let mut response = self.send(url, authorization.as_ref()).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            authorization = Some(self.authorize(&response).await?);
            response = self.send(url, authorization.as_ref()).await?;
        }
        match response.status() {
            status if status.is_success() => Ok((response, authorization)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.unauthorized()),
            status => Err(Error::Status {
                url: url.to_string(),
                status,
            }),
        }
    }

    async fn send(
        &self,
        url: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Error> {
        self.hosts.check(url).map_err(|source| Error::Host {
            url: url.to_string(),
            source,
        })?;
        let mut request = self.client.get(url.clone()).header(ACCEPT, MANIFEST);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.send().await.map_err(|source| failed(url, source))
    }

    /// What to show: a password, or a token that the registry's own issuer gives for it or to anybody.
    async fn authorize(&self, refusal: &Response) -> Result<HeaderValue, Error> {
        let basic = self.logins.basic(&self.reference.registry);
        let challenges = refusal
            .headers()
            .get(WWW_AUTHENTICATE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| parse_challenges(value).ok())
            .unwrap_or_default();
        let of = |scheme: &str| {
            challenges
                .iter()
                .find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme))
        };
        let basic = basic.and_then(|basic| secret(&format!("Basic {basic}")));
        if let Some(challenge) = of("Bearer") {
            return self.token(challenge, basic.as_ref()).await;
        }
        of("Basic").and(basic).ok_or_else(|| self.unauthorized())
    }

    async fn token(
        &self,
        challenge: &ChallengeRef<'_>,
        basic: Option<&HeaderValue>,
    ) -> Result<HeaderValue, Error> {
        let parameter = |name: &str| {
            let found = challenge
                .params
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        let realm = parameter("realm").unwrap_or_default();
        let mut url = Url::parse(&realm)
            .ok()
            .filter(|url| url.scheme() == "https")
            .ok_or_else(|| Error::Url {
                url: realm.clone(),
                reason: "the registry sends there for a token, and it is no https address",
            })?;
        let scope = format!("repository:{}:pull", self.reference.repository);
        url.query_pairs_mut().append_pair("scope", &scope);
        if let Some(service) = parameter("service") {
            url.query_pairs_mut().append_pair("service", &service);
        }
        let response = self.send(&url, basic).await?;
        match response.status() {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.unauthorized()),
            status => {
                return Err(Error::Status {
                    url: without_query(&url),
                    status,
                });
            }
        }
        let token: Option<Token> = serde_json::from_slice(&whole(response).await?).ok();
        token
            .and_then(|token| token.token.or(token.access_token))
            .and_then(|token| secret(&format!("Bearer {token}")))
            .ok_or_else(|| self.unauthorized())
    }

    fn unauthorized(&self) -> Error {
        Error::Unauthorized(self.reference.registry.clone())
    }
}

/// The digest of the one bundle that a manifest names.
fn bundle_of(manifest: &[u8]) -> Result<Digest, NoBundle> {
    let Manifest { layers } = serde_json::from_slice(manifest).map_err(|_| NoBundle::Manifest)?;
    let mut bundles = layers.iter().filter(|layer| layer.media_type == BUNDLE);
    match (bundles.next(), bundles.count()) {
        (Some(bundle), 0) => bundle.digest.parse().map_err(|_| NoBundle::Digest),
        (first, others) => Err(NoBundle::Layers {
            bundles: usize::from(first.is_some()) + others,
            layers: layers
                .into_iter()
                .map(|layer| layer.media_type)
                .take(LAYERS_TOLD)
                .collect(),
        }),
    }
}

/// A header that is not printed anywhere.
fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// All of an answer that must be small.
async fn whole(mut response: Response) -> Result<Bytes, Error> {
    let url = response.url().clone();
    let mut bytes = BytesMut::new();
    while let Some(piece) = response
        .chunk()
        .await
        .map_err(|source| failed(&url, source))?
    {
        if bytes.len() + piece.len() > ANSWER_BYTES {
            return Err(Error::TooLarge {
                limit: ANSWER_BYTES as u64,
            });
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}

/// An address for people: in its query a registry may have put a signature.
fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

fn failed(url: &Url, source: reqwest::Error) -> Error {
    Error::Fetch {
        url: without_query(url),
        source: source.without_url(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let pinned = format!("registry.example.com/apps/sales@{digest}");
        let both = format!("registry.example.com/apps/sales:1.2.0@{digest}");
        let manifest = |text: &str| {
            Reference::parse(text)
                .map(|reference| reference.url("manifests", &reference.version).to_string())
        };
        let of = |end: &str| {
            Ok(format!(
                "https://registry.example.com/v2/apps/sales/manifests/{end}"
            ))
        };
        assert_eq!(
            manifest("registry.example.com/apps/sales:1.2.0"),
            of("1.2.0")
        );
        assert_eq!(manifest(&pinned), of(&digest));
        assert_eq!(manifest(&both), of(&digest), "the digest counts");
        assert_eq!(
            manifest("10.0.0.1:5000/sales:latest"),
            Ok("https://10.0.0.1:5000/v2/sales/manifests/latest".to_owned())
        );
        assert_eq!(
            manifest("[2001:db8::1]:5000/sales:latest"),
            Ok("https://[2001:db8::1]:5000/v2/sales/manifests/latest".to_owned())
        );
    }

    #[test]
    fn nothing_else_is_a_reference() {
        for text in [
            "",
            "registry.example.com",
            "registry.example.com/sales",
            "registry.example.com/:1.0.0",
            "registry.example.com/sales:",
            "registry.example.com/sales:../../x",
            "registry.example.com/sales:1.0.0?x=y",
            "registry.example.com/sales@sha256:short",
            "registry.example.com/../sales:1.0.0",
            "registry.example.com/a//b:1.0.0",
            "registry.example.com/Sales:1.0.0",
            "registry.example.com/sales%2f:1.0.0",
            "user:password@registry.example.com/sales:1.0.0",
            "registry.example.com:port/sales:1.0.0",
            "registry.example.com\\@evil/sales:1.0.0",
            "/sales:1.0.0",
        ] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_artifact_has_one_bundle() {
        let digest = Digest::of(b"bundle");
        let layer = |media_type: &str, digest: &str| {
            format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":6}}"#)
        };
        let manifest =
            |layers: &[String]| format!(r#"{{"schemaVersion":2,"layers":[{}]}}"#, layers.join(","));
        let bundle = layer(BUNDLE, &digest.to_string());
        let readme = layer("text/markdown", &Digest::of(b"readme").to_string());
        let cases = [
            (manifest(std::slice::from_ref(&bundle)), Ok(digest)),
            (manifest(&[readme.clone(), bundle.clone()]), Ok(digest)),
            (
                manifest(&[bundle.clone(), bundle]),
                Err(NoBundle::Layers {
                    bundles: 2,
                    layers: vec![BUNDLE.to_owned(); 2],
                }),
            ),
            (
                manifest(&[readme]),
                Err(NoBundle::Layers {
                    bundles: 0,
                    layers: vec!["text/markdown".to_owned()],
                }),
            ),
            (
                manifest(&[layer(BUNDLE, "sha512:00")]),
                Err(NoBundle::Digest),
            ),
            (r#"{"manifests":[]}"#.to_owned(), Err(NoBundle::Manifest)),
            ("<html>".to_owned(), Err(NoBundle::Manifest)),
        ];
        for (manifest, expected) in cases {
            assert_eq!(bundle_of(manifest.as_bytes()), expected, "{manifest}");
        }
    }

    #[test]
    fn logins_are_those_of_docker() {
        let logins: Logins = serde_json::from_str(
            r#"{"auths": {
                "registry.example.com": {"auth": "dXNlcjpwYXNz"},
                "https://old.example.com/v1/": {"username": "user", "password": "pass", "auth": ""},
                "empty.example.com": {}
            }}"#,
        )
        .expect("logins");
        let cases = [
            ("registry.example.com", Some("dXNlcjpwYXNz")),
            ("REGISTRY.example.com", Some("dXNlcjpwYXNz")),
            ("old.example.com", Some("dXNlcjpwYXNz")),
            ("empty.example.com", None),
            ("registry.example.com:5000", None),
            ("example.com", None),
        ];
        for (registry, expected) in cases {
            assert_eq!(logins.basic(registry).as_deref(), expected, "{registry}");
        }
    }
}
