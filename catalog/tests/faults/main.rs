//! What the blob store does when its bucket or its folder fails (`make test-buckets`, whose `run.sh` says where they are).
//!
//! In the end either the object is there as it was sent, or an error says what failed, why, and what to do, and nothing is there; and
//! who tries again when the fault is over succeeds.

mod bucket;
mod folder;
mod proxy;

use std::error::Error as _;
use std::iter::successors;
use std::path::PathBuf;

use bytes::Bytes;
use catalog::{Blob, Blobs, Digest, EnvironmentKey, Error, Stored};
use futures::TryStreamExt as _;
use tempfile::TempDir;

/// A blob store of a test's own, and what is to be stored there.
struct Site {
    blobs: Blobs,
    content: Vec<u8>,
    folder: TempDir,
}

/// What is stored: a file whose digest is known, or a stream.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Bundle,
    Environment,
}

const BOTH: [Kind; 2] = [Kind::Bundle, Kind::Environment];

fn key() -> EnvironmentKey {
    EnvironmentKey::from_sha256([7; 32])
}

impl Site {
    fn open(url: &str, bytes: usize) -> Self {
        // Parts that are exchanged, or cut, must be seen.
        let mut dice = fastrand::Rng::with_seed(bytes as u64);
        Self {
            blobs: Blobs::open(url).expect(url),
            content: std::iter::repeat_with(|| dice.u8(..)).take(bytes).collect(),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn digest(&self) -> Digest {
        Digest::of(&self.content)
    }

    fn file(&self) -> PathBuf {
        let file = self.folder.path().join("upload");
        std::fs::write(&file, &self.content).expect("write a file");
        file
    }

    async fn store(&self, kind: Kind) -> Result<(), Error> {
        match kind {
            Kind::Bundle => self.blobs.put_bundle(&self.digest(), &self.file()).await,
            Kind::Environment => {
                let upload = self.blobs.put_environment(&key()).await?;
                let mut upload = upload.expect("none is there");
                for piece in self.content.chunks(1_000_000) {
                    if let Err(error) = upload.write(Bytes::copy_from_slice(piece)).await {
                        // As the router does.
                        upload.abort().await;
                        return Err(error);
                    }
                }
                assert_eq!(upload.finish().await?, self.digest());
                Ok(())
            }
        }
    }

    async fn read(&self, kind: Kind) -> Result<Option<Vec<u8>>, Error> {
        let blob = match kind {
            Kind::Bundle => self.blobs.bundle(&self.digest()).await?,
            Kind::Environment => self.blobs.environment(&key()).await?,
        };
        let Some(Blob { size, stream }) = blob else {
            return Ok(None);
        };
        let content: Vec<Bytes> = stream.try_collect().await?;
        let content = content.concat();
        assert_eq!(size, content.len() as u64);
        Ok(Some(content))
    }

    /// It is there as it was sent.
    async fn require(&self, kind: Kind) {
        let stored = self.read(kind).await.expect("read");
        assert!(stored.as_ref() == Some(&self.content), "{kind:?}");
    }

    /// Nothing is there under any name.
    async fn require_nothing(&self, kind: Kind) {
        let stored = self.read(kind).await.expect("read");
        assert!(stored.is_none(), "{kind:?} is there, or a half of it");
        let stored: Vec<Stored> = self.blobs.stored().try_collect().await.expect("list");
        assert_eq!(stored, [], "{kind:?}");
    }

    async fn delete(&self, kind: Kind) {
        let deleted = match kind {
            Kind::Bundle => self.blobs.delete_app(&self.digest()).await,
            Kind::Environment => self.blobs.delete_environment(&key()).await,
        };
        deleted.expect("delete");
    }

    fn path(&self, kind: Kind) -> String {
        match kind {
            Kind::Bundle => format!("bundles/sha256/{}.wave", self.digest().hex()),
            Kind::Environment => format!("envs/{}", key()),
        }
    }

    /// The error tells what failed on what, why, and what to do.
    fn require_words(&self, error: &Error, kind: Kind, why: &str, hint: &str) {
        assert_eq!(error.code(), "Blob", "{error:?}");
        let what = format!("could not write blob `{}`", self.path(kind));
        assert_eq!(error.to_string(), what);
        let causes = successors(error.source(), |error| (*error).source());
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        let causes = causes.join(": ");
        assert!(causes.contains(why), "{why}: {causes}");
        let told = error.hint().expect("a hint");
        assert!(told.contains(hint), "{hint}: {told}");
    }
}
