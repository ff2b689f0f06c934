//! Brings a bundle into a local file, from wherever its `WaveApp` says, and reads it.

#![deny(clippy::wildcard_enum_match_arm)]

mod hosts;
mod pictures;

use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bundle::{Bundle, EnvRules, Limits};
use bytes::Bytes;
use catalog::{Blobs, Digest};
use crds::{BundleSource, ConfigMapKey};
use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use reqwest::redirect;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::info;
use url::Url;

pub(crate) use hosts::Hosts;
pub(crate) use pictures::Pictures;

use super::resolve;
use super::secrets::{self, Refusal};

/// Redirects that a download may take.
const REDIRECTS: usize = 5;

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// How often a long download is told of.
const PROGRESS: Duration = Duration::from_secs(10);

/// Why a bundle is not in the store.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub enum Error {
    /// There is no such `ConfigMap`.
    #[error("there is no ConfigMap `{0}`")]
    NoConfigMap(String),
    /// The `ConfigMap` has no such key.
    #[error("ConfigMap `{name}` has no key `{key}` in its binaryData")]
    NoKey {
        /// Name of the `ConfigMap`.
        name: String,
        /// The key.
        key: String,
    },
    /// The API server did not give the `ConfigMap`.
    #[error("could not read ConfigMap `{name}`")]
    ConfigMap {
        /// Name of the `ConfigMap`.
        name: String,
        /// The API server's words.
        source: kube::Error,
    },
    /// A url of a kind that is not fetched.
    #[error("`{url}` cannot be fetched: {reason}")]
    Url {
        /// The url.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A url of a host that is not asked.
    #[error("`{url}` is not fetched")]
    Host {
        /// The url.
        url: String,
        /// Why not.
        source: hosts::Refused,
    },
    /// A file that is not in the import folder, or no file.
    #[error("could not read `{}` in the import folder", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The server said no.
    #[error("`{url}` answered {status}")]
    Status {
        /// The url.
        url: String,
        /// The answer.
        status: reqwest::StatusCode,
    },
    /// The server did not answer, or not to the end.
    #[error("could not fetch `{url}`")]
    Fetch {
        /// The url.
        url: String,
        /// The client's words.
        source: reqwest::Error,
    },
    /// The download took too long.
    #[error("fetching `{url}` took longer than {}", humantime::format_duration(*limit))]
    TooSlow {
        /// The url.
        url: String,
        /// The limit.
        limit: Duration,
    },
    /// The bundle is too large.
    #[error("the bundle is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The bundle is another one than was promised.
    #[error("the bundle has the digest {actual}, not {expected}")]
    OtherDigest {
        /// The digest that the `WaveApp` names.
        expected: Digest,
        /// The digest of what was fetched.
        actual: Digest,
    },
    /// A digest alone, and no such bundle.
    #[error("there is no bundle {0} in the store")]
    NotStored(Digest),
    /// The bundle is bad.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    /// The bundle cannot be run here.
    #[error(transparent)]
    Resolve(#[from] resolve::Error),
    /// The app names a Secret that it does not get.
    #[error(transparent)]
    Secret(#[from] secrets::Error),
    /// Another `WaveApp` has this name and version.
    #[error("app `{name}` version `{version}` is already published, by WaveApp `{holder}`")]
    Duplicate {
        /// The app's name.
        name: String,
        /// Its version.
        version: String,
        /// Name of the `WaveApp` that has them.
        holder: String,
    },
    /// The app may have no more versions.
    #[error("app `{name}` has as many versions as an app may have: {versions} of {limit}")]
    TooManyVersions {
        /// The app's name.
        name: String,
        /// How many there are.
        versions: usize,
        /// How many there may be.
        limit: u32,
    },
    /// The catalog or the blob store failed.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// A temporary file could not be written.
    #[error("could not write a temporary file")]
    Temporary(#[source] std::io::Error),
}

impl Error {
    /// Stable code for conditions, such as `NoConfigMap`.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Bundle(_) => "BadBundle",
            Self::Url { .. } | Self::Host { .. } => "BadUrl",
            Self::Catalog(catalog::Error::DuplicateApp { .. }) => "Duplicate",
            Self::Resolve(resolve::Error::ImageNotAllowed(_)) => "ImageNotAllowed",
            Self::Secret(secrets::Error::Refused(refusal)) => refusal.code(),
            Self::Secret(secrets::Error::Read { .. }) => "SecretUnreadable",
            Self::Catalog(error) => error.code(),
            Self::NoConfigMap(_)
            | Self::NoKey { .. }
            | Self::ConfigMap { .. }
            | Self::File { .. }
            | Self::Status { .. }
            | Self::Fetch { .. }
            | Self::TooSlow { .. }
            | Self::TooLarge { .. }
            | Self::OtherDigest { .. }
            | Self::NotStored(_)
            | Self::Duplicate { .. }
            | Self::TooManyVersions { .. }
            | Self::Temporary(_) => self.into(),
        }
    }

    /// Whether somebody has to change something; otherwise another try may do.
    pub(crate) fn stalls(&self) -> bool {
        match self {
            Self::Bundle(error) => error.blames_archive(),
            Self::Secret(secrets::Error::Refused(refusal)) => match refusal {
                Refusal::BadSecretName { .. }
                | Refusal::BadSecretKey { .. }
                | Refusal::ReservedSecret { .. }
                | Refusal::SecretKeyNotFound { .. }
                | Refusal::SecretOfAnotherOwner { .. }
                | Refusal::SecretOfAnotherApp { .. }
                | Refusal::SecretMarksUnclear { .. }
                | Refusal::SecretNotOpen { .. } => true,
                Refusal::SecretNotFound { .. } => false,
            },
            Self::Url { .. }
            | Self::Host { .. }
            | Self::NoKey { .. }
            | Self::TooLarge { .. }
            | Self::OtherDigest { .. }
            | Self::Resolve(_)
            | Self::Duplicate { .. }
            | Self::TooManyVersions { .. } => true,
            Self::NoConfigMap(_)
            | Self::ConfigMap { .. }
            | Self::File { .. }
            | Self::Status { .. }
            | Self::Fetch { .. }
            | Self::TooSlow { .. }
            | Self::NotStored(_)
            | Self::Secret(secrets::Error::Read { .. })
            | Self::Catalog(_)
            | Self::Temporary(_) => false,
        }
    }

    /// Whether nothing but another bundle helps.
    pub(crate) fn blames_bundle(&self) -> bool {
        match self {
            Self::Bundle(_) | Self::Resolve(_) => self.stalls(),
            Self::Secret(secrets::Error::Refused(refusal)) => refusal.blames_bundle(),
            Self::NoConfigMap(_)
            | Self::NoKey { .. }
            | Self::ConfigMap { .. }
            | Self::Url { .. }
            | Self::Host { .. }
            | Self::File { .. }
            | Self::Status { .. }
            | Self::Fetch { .. }
            | Self::TooSlow { .. }
            | Self::TooLarge { .. }
            | Self::OtherDigest { .. }
            | Self::NotStored(_)
            | Self::Secret(secrets::Error::Read { .. })
            | Self::Duplicate { .. }
            | Self::TooManyVersions { .. }
            | Self::Catalog(_)
            | Self::Temporary(_) => false,
        }
    }

    /// The one next step that helps, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoConfigMap(name) => Some(format!(
                "make it with `kubectl create configmap {name} --from-file=<bundle>`"
            )),
            Self::NoKey { .. } => {
                Some("a zip archive belongs into binaryData; see its keys with `kubectl describe configmap`".to_owned())
            }
            Self::Url { .. } => {
                Some("use an https address, or `file:///<name>` for a file in the import folder".to_owned())
            }
            Self::Host { .. } => Some(
                "put the bundle on a host that the store's administrator lists (`imports.hosts` in the chart's values), or upload it"
                    .to_owned(),
            ),
            Self::TooLarge { .. } => {
                Some("leave data and environments out, with a line each in `.appignore`".to_owned())
            }
            Self::OtherDigest { .. } => {
                Some("name the digest of the very file, as `sha256sum` tells it, in a new WaveApp".to_owned())
            }
            Self::NotStored(_) => Some("upload the bundle, or name a url beside the digest".to_owned()),
            Self::Duplicate { .. } => {
                Some("raise `Version` in app.toml; a published version never changes".to_owned())
            }
            Self::TooManyVersions { .. } => Some(
                "delete a version that nobody runs, or ask the store's administrator for more".to_owned(),
            ),
            Self::Bundle(error) => error.hint(),
            Self::Resolve(error) => Some(error.hint().to_owned()),
            Self::Secret(error) => error.hint(),
            Self::Catalog(error) => error.hint(),
            Self::ConfigMap { .. }
            | Self::File { .. }
            | Self::Status { .. }
            | Self::Fetch { .. }
            | Self::TooSlow { .. }
            | Self::Temporary(_) => None,
        }
    }
}

/// A bundle in a file of ours, deleted with this value.
pub(crate) struct Fetched {
    pub(crate) file: NamedTempFile,
    pub(crate) digest: Digest,
}

/// Where bundles come from, and how large they may be.
pub(crate) struct Importer {
    pub(crate) import_dir: PathBuf,
    pub(crate) hosts: Hosts,
    pub(crate) timeout: Duration,
    pub(crate) limits: Limits,
    pub(crate) rules: EnvRules,
    pub(crate) blobs: Blobs,
    /// Whoever has it may have a picture in memory.
    pub(crate) one_picture: Arc<Semaphore>,
}

impl Importer {
    /// Fetches a bundle: from the store when it is there under `known`, else from its source.
    pub(crate) async fn fetch(
        &self,
        source: &BundleSource,
        known: Option<Digest>,
        config_maps: &Api<ConfigMap>,
    ) -> Result<Fetched, Error> {
        let BundleSource {
            digest,
            url,
            config_map_ref,
        } = source;
        let expected: Option<Digest> = digest.as_deref().map(str::parse).transpose()?;
        if let Some(digest) = expected.or(known)
            && let Some(blob) = self.blobs.bundle(&digest).await?
        {
            let stream = blob.stream.map_err(Error::from);
            return self.keep(stream, Some(digest), "the store").await;
        }
        match (url, config_map_ref, expected) {
            (Some(url), _, _) => tokio::time::timeout(self.timeout, self.fetch_url(url, expected))
                .await
                .unwrap_or_else(|_elapsed| {
                    Err(Error::TooSlow {
                        url: url.clone(),
                        limit: self.timeout,
                    })
                }),
            (None, Some(key), _) => {
                let bytes = read_config_map(config_maps, key).await?;
                let stream = futures::stream::iter([Ok(Bytes::from(bytes))]);
                self.keep(stream, expected, &key.name).await
            }
            (None, None, Some(digest)) => Err(Error::NotStored(digest)),
            (None, None, None) => Err(Error::Url {
                url: String::new(),
                reason: "the WaveApp names no bundle",
            }),
        }
    }

    async fn fetch_url(&self, url: &str, expected: Option<Digest>) -> Result<Fetched, Error> {
        if let Some(path) = url.strip_prefix("file://") {
            let file = confine(&self.import_dir, path, url)?;
            let failed = |source| Error::File {
                file: file.clone(),
                source,
            };
            let opened = tokio::fs::File::open(&file).await.map_err(failed)?;
            let stream = tokio_util::io::ReaderStream::new(opened).map_err(failed);
            return self.keep(stream, expected, url).await;
        }
        if !url.starts_with("https://") {
            return Err(Error::Url {
                url: url.to_owned(),
                reason: "only https:// and file:/// are fetched",
            });
        }
        let failed = |source: reqwest::Error| Error::Fetch {
            url: url.to_owned(),
            source: source.without_url(),
        };
        let parsed = Url::parse(url).map_err(|_| Error::Url {
            url: url.to_owned(),
            reason: "it is no address",
        })?;
        self.hosts.check(&parsed).map_err(|source| Error::Host {
            url: url.to_owned(),
            source,
        })?;
        let client = reqwest::Client::builder()
            .https_only(true)
            .redirect(redirects(self.hosts.clone()))
            .dns_resolver(Arc::new(self.hosts.clone()))
            .connect_timeout(SILENCE)
            .read_timeout(SILENCE)
            .build()
            .map_err(failed)?;
        let response = client.get(url).send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(Error::Status {
                url: url.to_owned(),
                status: response.status(),
            });
        }
        self.keep(response.bytes_stream().map_err(failed), expected, url)
            .await
    }

    /// Writes a bundle to a file, never more than the limit, and checks its digest.
    async fn keep(
        &self,
        stream: impl Stream<Item = Result<Bytes, Error>>,
        expected: Option<Digest>,
        from: &str,
    ) -> Result<Fetched, Error> {
        let limit = self.limits.archive_bytes;
        let file = NamedTempFile::new().map_err(Error::Temporary)?;
        let mut writer = tokio::fs::File::from_std(file.reopen().map_err(Error::Temporary)?);
        let mut hash = Sha256::new();
        let mut size = 0_u64;
        let mut told = Instant::now();
        let mut stream = std::pin::pin!(stream);
        while let Some(bytes) = stream.next().await {
            let bytes = bytes?;
            size += bytes.len() as u64;
            if size > limit {
                return Err(Error::TooLarge { limit });
            }
            hash.update(&bytes);
            writer.write_all(&bytes).await.map_err(Error::Temporary)?;
            if told.elapsed() > PROGRESS {
                told = Instant::now();
                info!(
                    bundle.size_bytes = size,
                    "Fetching a bundle from {from}: {size} bytes so far"
                );
            }
        }
        writer.flush().await.map_err(Error::Temporary)?;
        let actual = Digest::from_sha256(hash.finalize().into());
        match expected {
            Some(expected) if expected != actual => Err(Error::OtherDigest { expected, actual }),
            Some(_) | None => Ok(Fetched {
                file,
                digest: actual,
            }),
        }
    }

    /// Reads and checks a bundle.
    pub(crate) async fn read(&self, fetched: &Fetched) -> Result<Bundle, Error> {
        let mut file = fetched.file.reopen().map_err(Error::Temporary)?;
        let (limits, rules) = (self.limits, self.rules.clone());
        let read = move || {
            file.seek(SeekFrom::Start(0)).map_err(bundle::Error::Read)?;
            bundle::read(std::io::BufReader::new(file), &limits, &rules)
        };
        let bundle = tokio::task::spawn_blocking(read)
            .await
            .map_err(|panic| Error::Temporary(panic.into()))??;
        Ok(bundle)
    }
}

/// Follows a few redirects, to hosts that may be asked.
fn redirects(hosts: Hosts) -> redirect::Policy {
    redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > REDIRECTS {
            return attempt.error("too many redirects");
        }
        match hosts.check(attempt.url()) {
            Ok(()) => attempt.follow(),
            Err(refused) => attempt.error(refused),
        }
    })
}

async fn read_config_map(
    config_maps: &Api<ConfigMap>,
    key: &ConfigMapKey,
) -> Result<Vec<u8>, Error> {
    let ConfigMapKey { name, key } = key;
    let found = config_maps
        .get_opt(name)
        .await
        .map_err(|source| Error::ConfigMap {
            name: name.clone(),
            source,
        })?
        .ok_or_else(|| Error::NoConfigMap(name.clone()))?;
    let bytes = found.binary_data.unwrap_or_default().remove(key);
    bytes.map(|bytes| bytes.0).ok_or_else(|| Error::NoKey {
        name: name.clone(),
        key: key.clone(),
    })
}

/// The file that a `file://` url means, which is in the import folder itself and no link.
fn confine(import_dir: &Path, path: &str, url: &str) -> Result<PathBuf, Error> {
    let refused = |reason| Error::Url {
        url: url.to_owned(),
        reason,
    };
    let name = path
        .strip_prefix('/')
        .ok_or_else(|| refused("write file:///<name>, without a host"))?;
    let plain = !name.is_empty()
        && !name.starts_with('.')
        && name
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "-_.+".contains(char));
    if !plain {
        return Err(refused(
            "the name of a file in the import folder is of letters, digits and -_.+ alone",
        ));
    }
    let file = import_dir.join(name);
    let failed = |source| Error::File {
        file: file.clone(),
        source,
    };
    let kind = file.symlink_metadata().map_err(failed)?;
    if !kind.is_file() {
        return Err(refused("it is no regular file"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_url_stays_in_the_import_folder() {
        let outside = tempfile::tempdir().expect("a folder");
        let secret = outside.path().join("secret");
        std::fs::write(&secret, "secret").expect("written");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("app-1.0.0.wave"), "zip").expect("written");
        std::fs::create_dir(folder.path().join("folder")).expect("made");
        std::os::unix::fs::symlink(&secret, folder.path().join("link")).expect("linked");
        let confined = |url: &str| {
            let path = url.strip_prefix("file://").expect("a file url");
            confine(folder.path(), path, url).map_err(|error| error.to_string())
        };
        assert_eq!(
            confined("file:///app-1.0.0.wave"),
            Ok(folder.path().join("app-1.0.0.wave"))
        );
        let refused: Vec<String> = [
            "file:///../secret",
            "file:///folder/../../secret",
            "file:////etc/passwd",
            "file:///%2e%2e/secret",
            "file://host/app-1.0.0.wave",
            "file:///link",
            "file:///folder",
            "file:///..",
            "file:///",
        ]
        .map(|url| confined(url).expect_err(url))
        .to_vec();
        insta::assert_snapshot!(refused.join("\n"));
    }

    #[tokio::test]
    async fn a_bundle_too_large_or_of_another_digest_is_refused() {
        let blobs = tempfile::tempdir().expect("a folder");
        let importer = Importer {
            import_dir: blobs.path().to_owned(),
            hosts: Hosts::default(),
            timeout: Duration::from_secs(1),
            limits: Limits {
                archive_bytes: 4,
                ..Limits::default()
            },
            rules: EnvRules::default(),
            blobs: Blobs::open(&format!("file://{}", blobs.path().display())).expect("blobs"),
            one_picture: Arc::new(Semaphore::new(1)),
        };
        let bytes = |text: &'static str| futures::stream::iter([Ok(Bytes::from(text))]);
        let kept = importer
            .keep(bytes("1234"), Some(Digest::of(b"1234")), "here")
            .await;
        assert_eq!(
            kept.map(|fetched| fetched.digest).ok(),
            Some(Digest::of(b"1234"))
        );
        let error = importer.keep(bytes("12345"), None, "here").await.err();
        assert_eq!(
            error.expect("refused").to_string(),
            "the bundle is larger than 4 bytes"
        );
        let error = importer
            .keep(bytes("1"), Some(Digest::of(b"2")), "here")
            .await
            .err();
        let text = error.expect("refused").to_string();
        insta::assert_snapshot!(text, @"the bundle has the digest sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b, not sha256:d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35");
    }
}
