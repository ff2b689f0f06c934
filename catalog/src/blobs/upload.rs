//! `Upload`: an object that is stored piece by piece, with one part of it in memory.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt as _};
use sha2::{Digest as _, Sha256};

use super::{PART_BYTES, abort, blob_error};
use crate::{Digest, Error};

/// An object under way. It is not there before [`Upload::finish`]; whoever does not get there calls [`Upload::abort`].
pub struct Upload {
    store: Arc<dyn ObjectStore>,
    path: Path,
    parts: Box<dyn MultipartUpload>,
    part: BytesMut,
    sha256: Sha256,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Upload {
    pub(super) async fn begin(store: Arc<dyn ObjectStore>, path: Path) -> Result<Self, Error> {
        let parts = store
            .put_multipart(&path)
            .await
            .map_err(|error| blob_error("write", &path, error))?;
        Ok(Self {
            store,
            path,
            parts,
            part: BytesMut::new(),
            sha256: Sha256::new(),
        })
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn write(&mut self, mut piece: Bytes) -> Result<(), Error> {
        self.sha256.update(&piece);
        while !piece.is_empty() {
            let room = PART_BYTES - self.part.len();
            let next = piece.split_to(room.min(piece.len()));
            self.part.extend_from_slice(&next);
            if self.part.len() == PART_BYTES {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    /// Makes the object appear under its name; answers the digest of all that was written.
    ///
    /// # Errors
    /// When the store fails; nothing is left behind then.
    pub async fn finish(mut self) -> Result<Digest, Error> {
        let digest = Digest::from_sha256(self.sha256.clone().finalize().into());
        match self.complete().await {
            Ok(()) => Ok(digest),
            // The answer alone was lost: a store that is asked once more does not know the upload.
            Err(_) if is_stored(self.store.as_ref(), &self.path, digest).await => Ok(digest),
            Err(error) => {
                self.abort().await;
                Err(error)
            }
        }
    }

    async fn complete(&mut self) -> Result<(), Error> {
        if !self.part.is_empty() {
            self.send_part().await?;
        }
        let completed = self.parts.complete().await;
        completed
            .map(drop)
            .map_err(|error| blob_error("write", &self.path, error))
    }

    /// Leaves nothing behind.
    pub async fn abort(mut self) {
        abort(self.parts.as_mut(), &self.path).await;
    }

    async fn send_part(&mut self) -> Result<(), Error> {
        let part = std::mem::take(&mut self.part).freeze();
        self.parts
            .put_part(part.into())
            .await
            .map_err(|error| blob_error("write", &self.path, error))
    }
}

/// Whether the object is there, with these bytes: nothing else tells whether it is this one or somebody else's.
async fn is_stored(store: &dyn ObjectStore, path: &Path, digest: Digest) -> bool {
    let Ok(stored) = store.get(path).await else {
        return false;
    };
    let sha256 = stored
        .into_stream()
        .try_fold(Sha256::new(), async |mut sha256, piece| {
            sha256.update(&piece);
            Ok(sha256)
        });
    let sha256 = sha256.await;
    sha256.is_ok_and(|sha256| Digest::from_sha256(sha256.finalize().into()) == digest)
}
