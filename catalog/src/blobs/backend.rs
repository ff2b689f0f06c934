//! What keeps the objects: a folder, or a bucket of S3 (and what is compatible), Azure or Google.
//!
//! The URL says where; credentials never stand in it. A bucket's come from the environment or from the cloud itself (web or
//! workload identity, instance metadata), by the names that the clouds' own tools use: see docs/operating.md.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};
use url::Url;

use crate::Error;

/// Where the objects are. Both are the same place; whoever writes waits longer.
pub(super) struct Backend {
    /// For what reads, lists and deletes.
    pub(super) reads: Arc<dyn ObjectStore>,
    /// For what writes.
    pub(super) writes: Arc<dyn ObjectStore>,
}

/// How long requests to a bucket wait.
struct Patience {
    /// The longest time without an answer, or without more of it, as humantime spells it. It begins with the request, so one that writes
    /// has to bring its body in this time.
    silence: &'static str,
    retries: RetryConfig,
}

/// A page is waiting.
const READS: Patience = Patience {
    silence: "30s",
    retries: RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(3),
            base: 2.0,
        },
        max_retries: 5,
        retry_timeout: Duration::from_secs(15),
    },
};

/// A part of 8 MiB gets through at 140 KB/s. A moment's trouble is waited out, since what was sent before would be lost; longer ones are
/// the caller's, who has somebody to tell.
const WRITES: Patience = Patience {
    silence: "60s",
    retries: RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(250),
            max_backoff: Duration::from_secs(3),
            base: 3.0,
        },
        // The time bounds them.
        max_retries: 50,
        retry_timeout: Duration::from_secs(15),
    },
};

impl Patience {
    /// How requests are bounded. The whole of a request may be a large bundle on its way to a slow reader.
    fn timeouts(&self) -> [(ClientConfigKey, &'static str); 3] {
        [
            (ClientConfigKey::ConnectTimeout, "5s"),
            (ClientConfigKey::ReadTimeout, self.silence),
            (ClientConfigKey::Timeout, "10m"),
        ]
    }
}

/// Opens what is at `url`.
pub(super) fn open(url: &str) -> Result<Backend, Error> {
    let invalid = |reason: &str| Error::InvalidBlobsUrl {
        url: without_credentials(url),
        reason: reason.to_owned(),
    };
    let parsed = Url::parse(url).map_err(|error| invalid(&error.to_string()))?;
    if parsed.scheme() == "file" {
        let folder = parsed
            .to_file_path()
            .map_err(|()| invalid("it names no absolute path"))?;
        let store: Arc<dyn ObjectStore> = Arc::new(open_folder(&folder)?);
        return Ok(Backend {
            reads: Arc::clone(&store),
            writes: store,
        });
    }
    if !parsed.username().is_empty() || parsed.password().is_some() || parsed.query().is_some() {
        return Err(invalid("credentials belong in the environment"));
    }
    if parsed.host_str().is_none_or(str::is_empty) {
        return Err(invalid("it names no bucket"));
    }
    let open = match parsed.scheme() {
        "s3" => open_s3,
        "az" => open_azure,
        "gs" => open_google,
        scheme => return Err(invalid(&format!("`{scheme}:` is not supported"))),
    };
    let open = |patience| open(&parsed, patience).map_err(|error| invalid(&error.to_string()));
    Ok(Backend {
        reads: open(READS)?,
        writes: open(WRITES)?,
    })
}

fn open_s3(url: &Url, patience: Patience) -> Result<Arc<dyn ObjectStore>, object_store::Error> {
    let mut builder = AmazonS3Builder::from_env().with_url(url.as_str());
    for (key, value) in patience.timeouts() {
        builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
    }
    Ok(below(builder.with_retry(patience.retries).build()?, url))
}

fn open_azure(url: &Url, patience: Patience) -> Result<Arc<dyn ObjectStore>, object_store::Error> {
    let mut builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str());
    for (key, value) in patience.timeouts() {
        builder = builder.with_config(AzureConfigKey::Client(key), value);
    }
    Ok(below(builder.with_retry(patience.retries).build()?, url))
}

fn open_google(url: &Url, patience: Patience) -> Result<Arc<dyn ObjectStore>, object_store::Error> {
    let mut builder = GoogleCloudStorageBuilder::from_env().with_url(url.as_str());
    for (key, value) in patience.timeouts() {
        builder = builder.with_config(GoogleConfigKey::Client(key), value);
    }
    Ok(below(builder.with_retry(patience.retries).build()?, url))
}

/// The part of a bucket that the URL's path names.
fn below(store: impl ObjectStore, url: &Url) -> Arc<dyn ObjectStore> {
    let prefix = url.path().trim_matches('/');
    if prefix.is_empty() {
        Arc::new(store)
    } else {
        Arc::new(PrefixStore::new(store, prefix))
    }
}

fn open_folder(folder: &Path) -> Result<LocalFileSystem, Error> {
    let unusable = |source: io::Error| Error::BlobsFolder {
        folder: folder.to_owned(),
        source,
    };
    // Only the last part of the path: a volume that was not mounted must not be mistaken for an empty one.
    unless(io::ErrorKind::AlreadyExists, std::fs::create_dir(folder))
        .and_then(|()| probe(folder))
        .map_err(unusable)?;
    let store = LocalFileSystem::new_with_prefix(folder)
        .map_err(|error| unusable(io::Error::other(error)))?;
    Ok(store.with_automatic_cleanup(true).with_fsync(true))
}

/// Writes a file into the folder and removes it: permissions alone do not tell about read-only volumes.
fn probe(folder: &Path) -> io::Result<()> {
    let probe: PathBuf = folder.join(format!(".wavestore-probe-{}", std::process::id()));
    std::fs::write(&probe, [])?;
    // In containers everybody is process 1: another one may have removed it.
    unless(io::ErrorKind::NotFound, std::fs::remove_file(&probe))
}

fn unless(fine: io::ErrorKind, done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == fine => Ok(()),
        done => done,
    }
}

fn without_credentials(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else {
        return "(unreadable)".to_owned();
    };
    // Both refuse URLs that cannot hold any.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}
