//! Brings a bundle into a local file, from wherever its `WaveApp` says, and reads it.

mod buckets;
mod error;
mod hosts;
mod oci;
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

pub(crate) use buckets::{Bucket, Buckets};
pub(crate) use error::Error;
pub(crate) use hosts::Hosts;
use oci::{Logins, Reference, Registry};
pub(crate) use pictures::Pictures;

/// Redirects that a download may take.
const REDIRECTS: usize = 5;

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// How often a long download is told of.
const PROGRESS: Duration = Duration::from_secs(10);

/// A bundle in a file of ours, deleted with this value.
pub(crate) struct Fetched {
    pub(crate) file: NamedTempFile,
    pub(crate) digest: Digest,
}

/// Where bundles come from, and how large they may be.
pub(crate) struct Importer {
    pub(crate) import_dir: PathBuf,
    pub(crate) hosts: Hosts,
    pub(crate) buckets: Buckets,
    /// Passwords of registries: a dockerconfigjson.
    pub(crate) registry_config: Option<PathBuf>,
    /// Whether a url must be one whose content nobody can exchange.
    pub(crate) digest_required: bool,
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
        // What was imported once stays what it was, wherever it comes from.
        let expected = expected.or(known);
        if let Some(digest) = expected
            && let Some(blob) = self.blobs.bundle(&digest).await?
        {
            let stream = blob.stream.map_err(Error::from);
            return self.keep(stream, expected, "the store").await;
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
        let unreadable = |reason| Error::Url {
            url: url.to_owned(),
            reason,
        };
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| unreadable("it is no address"))?;
        if scheme == "oci" {
            let reference = Reference::parse(rest).map_err(unreadable)?;
            self.refuse_exchangeable(url, expected.is_some() || reference.is_pinned())?;
            return self.fetch_artifact(url, &reference, expected).await;
        }
        self.refuse_exchangeable(url, expected.is_some())?;
        if scheme == "file" {
            let file = confine(&self.import_dir, rest, url)?;
            let failed = |source| Error::File {
                file: file.clone(),
                source,
            };
            let opened = tokio::fs::File::open(&file).await.map_err(failed)?;
            let stream = tokio_util::io::ReaderStream::new(opened).map_err(failed);
            return self.keep(stream, expected, url).await;
        }
        let parsed = Url::parse(url).map_err(|_| unreadable("it is no address"))?;
        match parsed.scheme() {
            "https" => self.fetch_https(url, parsed, expected).await,
            "s3" | "gs" | "az" => self.fetch_object(url, &parsed, expected).await,
            _ => Err(unreadable(
                "only https://, oci://, s3://, gs://, az:// and file:/// are fetched",
            )),
        }
    }

    fn refuse_exchangeable(&self, url: &str, is_pinned: bool) -> Result<(), Error> {
        if is_pinned || !self.digest_required {
            Ok(())
        } else {
            Err(Error::NoDigest(url.to_owned()))
        }
    }

    async fn fetch_https(
        &self,
        url: &str,
        parsed: Url,
        expected: Option<Digest>,
    ) -> Result<Fetched, Error> {
        let failed = |source: reqwest::Error| Error::Fetch {
            url: url.to_owned(),
            source: source.without_url(),
        };
        self.hosts.check(&parsed).map_err(|source| Error::Host {
            url: url.to_owned(),
            source,
        })?;
        let client = self.client().map_err(failed)?;
        let response = client.get(parsed).send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(Error::Status {
                url: url.to_owned(),
                status: response.status(),
            });
        }
        self.keep(response.bytes_stream().map_err(failed), expected, url)
            .await
    }

    async fn fetch_artifact(
        &self,
        url: &str,
        reference: &Reference,
        expected: Option<Digest>,
    ) -> Result<Fetched, Error> {
        let failed = |source: reqwest::Error| Error::Fetch {
            url: url.to_owned(),
            source: source.without_url(),
        };
        let logins = match &self.registry_config {
            Some(file) => Logins::read(file)?,
            None => Logins::default(),
        };
        let registry = Registry {
            client: &self.client().map_err(failed)?,
            hosts: &self.hosts,
            reference,
            logins: &logins,
        };
        let sent = registry.fetch(url).await?;
        let actual = sent.digest;
        if let Some(expected) = expected
            && expected != actual
        {
            return Err(Error::OtherDigest { expected, actual });
        }
        let stream = sent.response.bytes_stream().map_err(failed);
        self.keep(stream, Some(actual), url).await
    }

    async fn fetch_object(
        &self,
        url: &str,
        parsed: &Url,
        expected: Option<Digest>,
    ) -> Result<Fetched, Error> {
        self.buckets.check(parsed).map_err(|source| Error::Bucket {
            url: url.to_owned(),
            source,
        })?;
        let object = catalog::read_object(parsed.as_str())
            .await?
            .ok_or_else(|| Error::NoObject(url.to_owned()))?;
        self.keep(object.stream.map_err(Error::from), expected, url)
            .await
    }

    /// Asks nobody but the hosts that may be asked, whoever sends it there.
    fn client(&self) -> reqwest::Result<reqwest::Client> {
        reqwest::Client::builder()
            .https_only(true)
            .redirect(redirects(self.hosts.clone()))
            .dns_resolver(Arc::new(self.hosts.clone()))
            .connect_timeout(SILENCE)
            .read_timeout(SILENCE)
            .build()
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
            buckets: Buckets::default(),
            registry_config: None,
            digest_required: true,
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
