//! `Blobs`: bundles and their pictures in an object store, under the bundle's digest, and environments under their keys.
//! What is there never changes, so writing it twice is the same as once; but a lock is replaced when its versions cannot be had any more.

mod backend;
mod failure;
mod garbage;
mod key;
mod upload;

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path as ObjectPath;
use object_store::{
    GetResultPayload, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
};
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use crate::{Digest, EnvironmentKey, Error};
use backend::Backend;
use failure::blob_error;
pub(crate) use failure::hint;
pub use garbage::{LEAST_GRACE, Names, Stored, Verdict};
use key::ObjectKey;
pub use upload::Upload;

/// How much of a bundle is in memory while it is stored. S3 refuses parts below 5 MiB.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// How much of a local blob is read at a time.
const READ_BYTES: usize = 256 * 1024;

/// The object store with bundles and assets. A clone shares it.
#[derive(Clone)]
pub struct Blobs {
    /// For all that does not write.
    store: Arc<dyn ObjectStore>,
    /// The same, more patiently.
    writes: Arc<dyn ObjectStore>,
}

/// One object, ready to be read.
pub struct Blob {
    /// Its whole size in bytes.
    pub size: u64,
    /// Its content, in pieces.
    pub stream: BoxStream<'static, Result<Bytes, Error>>,
}

/// Reads an object of any bucket by its address, `s3://bucket/path`, `az://container/path` or `gs://bucket/path`, with the credentials and
/// settings that [`Blobs::open`] takes from the environment; nothing when there is none. Whether it may be read is the caller's decision.
///
/// # Errors
/// When the address or the environment cannot be used, or the bucket fails.
pub async fn read_object(url: &str) -> Result<Option<Blob>, Error> {
    let (folder, name) = url.rsplit_once('/').unwrap_or((url, ""));
    let path = ObjectPath::parse(name).map_err(|error| Error::InvalidBlobsUrl {
        url: url.to_owned(),
        reason: error.to_string(),
    })?;
    Blobs::open(folder)?.read(path).await
}

impl fmt::Debug for Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blobs({})", self.store)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Blobs {
    /// Opens the store at `url`: `file:///data/blobs` for a folder, which is made when its parent is there;
    /// `s3://bucket/prefix`, `az://container/prefix` or `gs://bucket/prefix` for a bucket, with credentials from the
    /// environment. Blocks for as long as it takes to write a file into the folder; asks nothing of a bucket.
    ///
    /// # Errors
    /// When the URL is of another kind, the folder cannot be made or written, or the environment lacks what the bucket needs.
    pub fn open(url: &str) -> Result<Self, Error> {
        let Backend { reads, writes } = backend::open(url)?;
        Ok(Self {
            store: reads,
            writes,
        })
    }

    /// Stores the bundle in `file`, piece by piece, unless it is there already. One that has been there for long is stored again: who
    /// collects garbage must see that somebody is about to name it.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`] when the file has another digest; nothing is stored then.
    pub async fn put_bundle(&self, digest: &Digest, file: &Path) -> Result<(), Error> {
        self.put(digest, file, garbage::fresh(Utc::now())).await
    }

    /// The same for a bundle that a `WaveApp` names already: it is no garbage, however long it has been there.
    ///
    /// # Errors
    /// As for [`Self::put_bundle`].
    pub async fn put_named_bundle(&self, digest: &Digest, file: &Path) -> Result<(), Error> {
        self.put(digest, file, DateTime::<Utc>::MIN_UTC).await
    }

    /// Stores a bundle unless it is there, written after `fresh`.
    async fn put(&self, digest: &Digest, file: &Path, fresh: DateTime<Utc>) -> Result<(), Error> {
        let unreadable = |source| Error::ReadFile {
            file: file.to_owned(),
            source,
        };
        let mut source = File::open(file).await.map_err(unreadable)?;
        let size = source.metadata().await.map_err(unreadable)?.len();
        let path = ObjectKey::Bundle(digest).path()?;
        let failed = |source| blob_error("write", &path, source);
        let before = match self.writes.head(&path).await {
            Ok(stored) if stored.size == size && stored.last_modified > fresh => return Ok(()),
            Ok(stored) => Some(stored.last_modified),
            Err(object_store::Error::NotFound { .. }) => None,
            Err(error) => return Err(failed(error)),
        };

        let mismatch = |actual: Digest| Error::DigestMismatch {
            file: file.to_owned(),
            expected: digest.to_string(),
            actual: actual.to_string(),
        };
        if size < PART_BYTES as u64 {
            let content = read_part(&mut source).await.map_err(unreadable)?;
            let actual = Digest::of(&content);
            if actual != *digest {
                return Err(mismatch(actual));
            }
            // Over an old one, and over one of another size: that is damaged.
            self.writes
                .put(&path, content.into())
                .await
                .map_err(failed)?;
            return Ok(());
        }

        // Nothing appears under the final name before `complete`.
        let mut upload = self.writes.put_multipart(&path).await.map_err(failed)?;
        let failure = match upload_parts(&mut source, upload.as_mut()).await {
            Ok(actual) if actual == *digest => match upload.complete().await {
                Ok(_) => return Ok(()),
                // The answer alone was lost. Or somebody else has stored the same: Azure drops the parts of all others when the first is done.
                Err(_) if self.has_come(&path, size, before).await => return Ok(()),
                Err(error) => failed(error),
            },
            Ok(actual) => mismatch(actual),
            Err(PartError::Read(source)) => unreadable(source),
            Err(PartError::Write(source)) => failed(source),
        };
        abort(upload.as_mut(), &path).await;
        Err(failure)
    }

    /// Whether an object of this size was written since it was written at `before`, or was not there.
    async fn has_come(&self, path: &ObjectPath, size: u64, before: Option<DateTime<Utc>>) -> bool {
        let found = self.writes.head(path).await;
        found.is_ok_and(|stored| stored.size == size && Some(stored.last_modified) != before)
    }

    /// The bundle with this digest, if it is there. Its stream ends with [`Error::DamagedBlob`] when its bytes are others.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn bundle(&self, digest: &Digest) -> Result<Option<Blob>, Error> {
        let path = ObjectKey::Bundle(digest).path()?.to_string();
        let found = self.get(ObjectKey::Bundle(digest)).await?;
        Ok(found.map(|blob| Blob {
            size: blob.size,
            stream: verified(blob.stream, *digest, path),
        }))
    }

    /// Stores a picture of a bundle, unless one of this name is there already.
    ///
    /// # Errors
    /// [`Error::InvalidAssetName`] when `name` is no plain file name.
    pub async fn put_asset(&self, digest: &Digest, name: &str, bytes: Bytes) -> Result<(), Error> {
        let path = ObjectKey::Asset(digest, name).path()?;
        let stored = self
            .writes
            .put_opts(&path, bytes.into(), PutOptions::from(PutMode::Create))
            .await;
        match stored {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(blob_error("write", &path, error)),
        }
    }

    /// The picture of this name of a bundle, if it is there.
    ///
    /// # Errors
    /// [`Error::InvalidAssetName`] when `name` is no plain file name.
    pub async fn asset(&self, digest: &Digest, name: &str) -> Result<Option<Blob>, Error> {
        self.get(ObjectKey::Asset(digest, name)).await
    }

    /// The names of all pictures of a bundle that are there.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn asset_names(&self, digest: &Digest) -> Result<HashSet<String>, Error> {
        let folder = ObjectKey::Assets(digest).path()?;
        let listed = self.store.list(Some(&folder));
        listed
            .try_filter_map(async |object| Ok(object.location.filename().map(str::to_owned)))
            .try_collect()
            .await
            .map_err(|error| blob_error("list", &folder, error))
    }

    /// Deletes a bundle and its pictures. Deleting what is gone is no error.
    ///
    /// # Errors
    /// When the store fails; calling again goes on where it stopped.
    pub async fn delete_app(&self, digest: &Digest) -> Result<(), Error> {
        let assets = ObjectKey::Assets(digest).path()?;
        let mut listed = self.store.list(Some(&assets));
        while let Some(asset) = listed.next().await {
            let asset = asset.map_err(|error| blob_error("list", &assets, error))?;
            self.delete(&asset.location).await?;
        }
        self.delete(&ObjectKey::Bundle(digest).path()?).await
    }

    /// Begins to store an environment; nothing when one is there already. What it is made of is not known before, so
    /// whoever uses it has to know its digest from elsewhere.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_environment(&self, key: &EnvironmentKey) -> Result<Option<Upload>, Error> {
        let path = ObjectKey::Environment(key).path()?;
        if exists(self.writes.as_ref(), &path).await? {
            return Ok(None);
        }
        Upload::begin(Arc::clone(&self.writes), path)
            .await
            .map(Some)
    }

    /// The environment with this key, if it is there.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn environment(&self, key: &EnvironmentKey) -> Result<Option<Blob>, Error> {
        self.get(ObjectKey::Environment(key)).await
    }

    /// Whether there is an environment with this key.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn has_environment(&self, key: &EnvironmentKey) -> Result<bool, Error> {
        let path = ObjectKey::Environment(key).path()?;
        exists(self.store.as_ref(), &path).await
    }

    /// All environments that were stored before `time`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn environments_before(
        &self,
        time: DateTime<Utc>,
    ) -> Result<Vec<EnvironmentKey>, Error> {
        let folder = ObjectPath::from(key::ENVIRONMENTS);
        let listed = self.store.list(Some(&folder));
        listed
            .try_filter_map(async |object| {
                let key = object
                    .location
                    .filename()
                    .and_then(|name| name.parse::<EnvironmentKey>().ok());
                Ok(key.filter(|_| object.last_modified < time))
            })
            .try_collect()
            .await
            .map_err(|error| blob_error("list", &folder, error))
    }

    /// Deletes an environment, and not its lock: the next one is to have the same in it. Deleting what is gone is no error.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_environment(&self, key: &EnvironmentKey) -> Result<(), Error> {
        self.delete(&ObjectKey::Environment(key).path()?).await
    }

    /// Stores the exact versions that are in an environment, in place of others.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_lock(&self, key: &EnvironmentKey, lock: Bytes) -> Result<(), Error> {
        let path = ObjectKey::Lock(key).path()?;
        let stored = self.writes.put(&path, lock.into()).await;
        stored
            .map(drop)
            .map_err(|error| blob_error("write", &path, error))
    }

    /// The exact versions that are in an environment, or were, if they are there.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn lock(&self, key: &EnvironmentKey) -> Result<Option<Blob>, Error> {
        self.get(ObjectKey::Lock(key)).await
    }

    /// Deletes the lock of an environment. Deleting what is gone is no error.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_lock(&self, key: &EnvironmentKey) -> Result<(), Error> {
        self.delete(&ObjectKey::Lock(key).path()?).await
    }

    async fn delete(&self, path: &ObjectPath) -> Result<(), Error> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(blob_error("delete", path, error)),
        }
    }

    async fn get(&self, key: ObjectKey<'_>) -> Result<Option<Blob>, Error> {
        self.read(key.path()?).await
    }

    async fn read(&self, path: ObjectPath) -> Result<Option<Blob>, Error> {
        let found = match self.store.get(&path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(blob_error("read", &path, error)),
        };
        let size = found.meta.size;
        let stream = match found.payload {
            // The store's own stream reads files in pieces of 8 KiB, each a trip to another thread.
            GetResultPayload::File(file, _) => {
                ReaderStream::with_capacity(File::from_std(file), READ_BYTES)
                    .map_err(move |source| blob_error("read", &path, source))
                    .boxed()
            }
            GetResultPayload::Stream(stream) => stream
                .map_err(move |source| blob_error("read", &path, source))
                .boxed(),
        };
        Ok(Some(Blob { size, stream }))
    }
}

/// Whether there is an object at `path`.
async fn exists(store: &dyn ObjectStore, path: &ObjectPath) -> Result<bool, Error> {
    match store.head(path).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(blob_error("look for", path, error)),
    }
}

/// The same stream, with an error at its end when the bytes were not those that the digest promises.
fn verified(
    stream: BoxStream<'static, Result<Bytes, Error>>,
    digest: Digest,
    path: String,
) -> BoxStream<'static, Result<Bytes, Error>> {
    let state = (stream, Sha256::new(), path);
    stream::try_unfold(state, move |(mut stream, mut sha256, path)| async move {
        if let Some(piece) = stream.try_next().await? {
            sha256.update(&piece);
            return Ok(Some((piece, (stream, sha256, path))));
        }
        let actual = Digest::from_sha256(sha256.finalize().into());
        if actual == digest {
            Ok(None)
        } else {
            Err(Error::DamagedBlob { path, actual })
        }
    })
    .boxed()
}

enum PartError {
    Read(io::Error),
    Write(object_store::Error),
}

/// Sends the whole file, one part in memory at a time; answers the digest of what was sent.
async fn upload_parts(
    source: &mut File,
    upload: &mut dyn MultipartUpload,
) -> Result<Digest, PartError> {
    let mut sha256 = Sha256::new();
    loop {
        let part = read_part(source).await.map_err(PartError::Read)?;
        if part.is_empty() {
            return Ok(Digest::from_sha256(sha256.finalize().into()));
        }
        sha256.update(&part);
        upload
            .put_part(part.into())
            .await
            .map_err(PartError::Write)?;
    }
}

/// The next part, full unless the file ends; empty at the end.
async fn read_part(source: &mut File) -> io::Result<Bytes> {
    let mut part = BytesMut::with_capacity(PART_BYTES);
    let mut rest = source.take(PART_BYTES as u64);
    // A full buffer would grow to be asked once more.
    while part.len() < PART_BYTES && rest.read_buf(&mut part).await? > 0 {}
    Ok(part.freeze())
}

async fn abort(upload: &mut dyn MultipartUpload, path: &ObjectPath) {
    if let Err(error) = upload.abort().await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            blob.path = %path,
            "Could not remove the unfinished upload of blob {path}"
        );
    }
}
