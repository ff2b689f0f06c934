//! Why a bundle is not in the store, in words for whoever published it.

#![deny(clippy::wildcard_enum_match_arm)]

use std::path::PathBuf;
use std::time::Duration;

use catalog::Digest;

use super::super::resolve;
use super::super::secrets::{self, Refusal};
use super::{buckets, hosts, oci};

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
    /// An object of a bucket that is not read.
    #[error("`{url}` is not read")]
    Bucket {
        /// The url.
        url: String,
        /// Why not.
        source: buckets::NotListed,
    },
    /// There is no such object in the bucket.
    #[error("there is no `{0}`")]
    NoObject(String),
    /// A url without a digest.
    #[error("`{0}` has no digest, so that anybody could exchange the bundle")]
    NoDigest(String),
    /// What a registry has there is no bundle.
    #[error("`{url}` is no bundle: {reason}")]
    Artifact {
        /// The url.
        url: String,
        /// What it is instead.
        reason: oci::NoBundle,
    },
    /// A registry does not let us in.
    #[error("the registry `{0}` does not let the store read")]
    Unauthorized(String),
    /// The file with the passwords of registries cannot be used.
    #[error("could not read the passwords of registries in `{}`", file.display())]
    RegistryConfig {
        /// The file.
        file: PathBuf,
        /// The system's words, or where it is no such file.
        source: std::io::Error,
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
            Self::Url { .. } | Self::Host { .. } | Self::Bucket { .. } => "BadUrl",
            Self::Catalog(catalog::Error::DuplicateApp { .. }) => "Duplicate",
            Self::Resolve(resolve::Error::ImageNotAllowed(_)) => "ImageNotAllowed",
            Self::Secret(secrets::Error::Refused(refusal)) => refusal.code(),
            Self::Secret(secrets::Error::Read { .. }) => "SecretUnreadable",
            Self::Catalog(error) => error.code(),
            Self::NoConfigMap(_)
            | Self::NoKey { .. }
            | Self::ConfigMap { .. }
            | Self::NoObject(_)
            | Self::NoDigest(_)
            | Self::Artifact { .. }
            | Self::Unauthorized(_)
            | Self::RegistryConfig { .. }
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
            | Self::Bucket { .. }
            | Self::NoDigest(_)
            | Self::Artifact { .. }
            | Self::NoKey { .. }
            | Self::TooLarge { .. }
            | Self::OtherDigest { .. }
            | Self::Resolve(_)
            | Self::Duplicate { .. }
            | Self::TooManyVersions { .. } => true,
            Self::NoConfigMap(_)
            | Self::ConfigMap { .. }
            | Self::NoObject(_)
            | Self::Unauthorized(_)
            | Self::RegistryConfig { .. }
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
            | Self::Bucket { .. }
            | Self::NoObject(_)
            | Self::NoDigest(_)
            | Self::Artifact { .. }
            | Self::Unauthorized(_)
            | Self::RegistryConfig { .. }
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
                Some("use an address of https, oci, s3, gs or az, or `file:///<name>` for a file in the import folder".to_owned())
            }
            Self::Bucket { .. } => Some(
                "put the bundle into a bucket that the store's administrator lists (`imports.buckets` in the chart's values), or upload it"
                    .to_owned(),
            ),
            Self::NoObject(_) => Some("put the bundle there; the store looks again".to_owned()),
            Self::NoDigest(_) => Some(
                "name the bundle's digest beside the url, `sha256:` and what `sha256sum` tells".to_owned(),
            ),
            Self::Artifact { .. } => Some(format!(
                "push the bundle with `oras push <registry>/<repository>:<tag> app.wave:{}`",
                oci::BUNDLE
            )),
            Self::Unauthorized(registry) => Some(format!(
                "check the repository's name; for one that is not public, the store's administrator adds `{registry}` to the Secret of \
                 `imports.registrySecret` in the chart's values"
            )),
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
            | Self::RegistryConfig { .. }
            | Self::File { .. }
            | Self::Status { .. }
            | Self::Fetch { .. }
            | Self::TooSlow { .. }
            | Self::Temporary(_) => None,
        }
    }
}
