//! Bundles and pictures in buckets, on the servers that `run.sh` starts (`make test-buckets`).

use std::path::PathBuf;

use bytes::Bytes;
use catalog::{Blob, Blobs, Digest, EnvironmentKey, Names, Stored, Verdict};
use chrono::{TimeDelta, Utc};
use futures::TryStreamExt as _;
use futures::future::join_all;
use tempfile::TempDir;

/// A bucket, and a folder for files to be stored. Tests share the bucket, so each has content of its own.
struct Bucket {
    url: String,
    folder: TempDir,
    blobs: Blobs,
}

impl Bucket {
    /// All there are.
    fn all() -> Vec<Self> {
        let urls = std::env::var("WAVESTORE_BUCKETS").expect("run.sh sets WAVESTORE_BUCKETS");
        let open = |url: &str| Self {
            url: url.to_owned(),
            folder: tempfile::tempdir().expect("a folder"),
            blobs: Blobs::open(url).expect(url),
        };
        urls.split(' ').map(open).collect()
    }

    fn file(&self, content: &[u8]) -> PathBuf {
        let file = self.folder.path().join("upload");
        std::fs::write(&file, content).expect("write a file");
        file
    }

    async fn has(&self, digest: &Digest) -> bool {
        let found = self.blobs.bundle(digest).await;
        found.expect(&self.url).is_some()
    }
}

async fn read(blob: Option<Blob>) -> Vec<u8> {
    let blob = blob.expect("a blob");
    let content: Vec<Bytes> = blob.stream.try_collect().await.expect("read a blob");
    let content = content.concat();
    assert_eq!(blob.size, content.len() as u64);
    content
}

/// Content of three parts, the last one short.
fn large(seed: u8) -> Vec<u8> {
    (0..20_000_001_u32)
        .map(|number| number.to_le_bytes()[(number % 3) as usize] ^ seed)
        .collect()
}

#[tokio::test]
#[ignore = "needs servers: make test-buckets"]
async fn a_small_bundle_comes_back_as_it_was_stored() {
    for bucket in Bucket::all() {
        for content in [b"PK".to_vec(), Vec::new(), vec![7; 1_000_000]] {
            let digest = Digest::of(&content);
            assert!(!bucket.has(&digest).await, "{}", bucket.url);
            let file = bucket.file(&content);
            for _ in 0..2 {
                bucket
                    .blobs
                    .put_bundle(&digest, &file)
                    .await
                    .expect("store");
            }
            let stored = bucket.blobs.bundle(&digest).await.expect("look");
            assert!(read(stored).await == content, "{}: {digest}", bucket.url);
        }
    }
}

#[tokio::test]
#[ignore = "needs servers: make test-buckets"]
async fn a_large_bundle_goes_in_parts_and_replicas_may_store_it_at_once() {
    for bucket in Bucket::all() {
        let content = large(0);
        let digest = Digest::of(&content);
        let file = bucket.file(&content);
        for stored in join_all((0..3).map(|_| bucket.blobs.put_bundle(&digest, &file))).await {
            stored.expect(&bucket.url);
        }
        let stored = bucket.blobs.bundle(&digest).await.expect("look");
        assert!(read(stored).await == content, "{}", bucket.url);
    }
}

#[tokio::test]
#[ignore = "needs servers: make test-buckets"]
async fn a_file_with_another_digest_leaves_nothing() {
    let promised = Digest::of(b"the whole bundle");
    for bucket in Bucket::all() {
        for content in [b"cut short".to_vec(), large(1)] {
            let file = bucket.file(&content);
            let stored = bucket.blobs.put_bundle(&promised, &file).await;
            let error = stored.expect_err(&bucket.url);
            assert_eq!(error.code(), "DigestMismatch", "{}: {error}", bucket.url);
            assert!(!bucket.has(&promised).await, "{}", bucket.url);
        }
    }
}

#[tokio::test]
#[ignore = "needs servers: make test-buckets"]
async fn an_environment_is_stored_once_and_its_lock_is_replaced() {
    let key = EnvironmentKey::from_sha256([0xab; 32]);
    for bucket in Bucket::all() {
        let blobs = &bucket.blobs;
        let begin = async || blobs.put_environment(&key).await.expect("begin");
        let content = large(2);

        let mut upload = begin().await.expect("none is there");
        let half = Bytes::copy_from_slice(&content[..10_000_000]);
        upload.write(half).await.expect("write");
        assert!(!blobs.has_environment(&key).await.expect("look"));
        upload.abort().await;
        assert!(!blobs.has_environment(&key).await.expect("look"));

        let mut upload = begin().await.expect("none is there");
        for piece in content.chunks(6_000_000) {
            let piece = Bytes::copy_from_slice(piece);
            upload.write(piece).await.expect("write");
        }
        let digest = upload.finish().await.expect("finish");
        assert_eq!(digest, Digest::of(&content), "{}", bucket.url);
        let stored = blobs.environment(&key).await.expect("look");
        assert!(read(stored).await == content, "{}", bucket.url);
        assert!(begin().await.is_none(), "{}: it is there", bucket.url);

        // A clock of its own may be some seconds off.
        let (now, hour) = (Utc::now(), TimeDelta::hours(1));
        let before = async |time| blobs.environments_before(time).await.expect("list");
        assert_eq!(before(now - hour).await, [], "{}", bucket.url);
        assert_eq!(before(now + hour).await, [key], "{}", bucket.url);

        for lock in ["pandas==2.0.0\n", "pandas==2.1.0\n"] {
            let put = blobs.put_lock(&key, Bytes::from(lock)).await;
            put.expect(&bucket.url);
            blobs.delete_environment(&key).await.expect("delete");
            let stored = blobs.lock(&key).await.expect("look");
            assert_eq!(read(stored).await, lock.as_bytes(), "{}", bucket.url);
        }
        assert!(!blobs.has_environment(&key).await.expect("look"));
        for _ in 0..2 {
            blobs.delete_lock(&key).await.expect("delete");
        }
        assert!(blobs.lock(&key).await.expect("look").is_none());
    }
}

#[tokio::test]
#[ignore = "needs servers: make test-buckets"]
async fn pictures_keep_their_names_and_go_with_their_app() {
    for bucket in Bucket::all() {
        let (app, other) = (Digest::of(b"an app"), Digest::of(b"another app"));
        for digest in [&app, &other] {
            let file = bucket.file(if *digest == app {
                b"an app"
            } else {
                b"another app"
            });
            bucket.blobs.put_bundle(digest, &file).await.expect("store");
            for name in ["icon.png", "screenshot 1 (ä) #1 100%.png", "a..b", "~"] {
                for content in ["first", "second"] {
                    let put = bucket.blobs.put_asset(digest, name, Bytes::from(content));
                    put.await
                        .unwrap_or_else(|error| panic!("{}: {name}: {error:?}", bucket.url));
                }
                let stored = bucket.blobs.asset(digest, name).await.expect(name);
                assert_eq!(read(stored).await, b"first", "{}: {name}", bucket.url);
            }
        }
        let names = bucket.blobs.asset_names(&app).await.expect("list");
        assert_eq!(names.len(), 4, "{}: {names:?}", bucket.url);
        assert!(names.contains("icon.png"), "{}: {names:?}", bucket.url);
        for _ in 0..2 {
            bucket.blobs.delete_app(&app).await.expect(&bucket.url);
        }
        assert!(!bucket.has(&app).await, "{}", bucket.url);
        let gone = bucket.blobs.asset(&app, "icon.png").await.expect("look");
        assert!(gone.is_none(), "{}", bucket.url);
        assert!(bucket.has(&other).await, "{}", bucket.url);
        let left = bucket.blobs.asset(&other, "icon.png").await.expect("look");
        assert_eq!(read(left).await, b"first", "{}", bucket.url);
    }
}

#[tokio::test]
#[ignore = "needs servers: make test-buckets"]
async fn garbage_is_told_by_name_and_age() {
    for bucket in Bucket::all() {
        let content = b"garbage of a bucket";
        let digest = Digest::of(content);
        let file = bucket.file(content);
        bucket
            .blobs
            .put_bundle(&digest, &file)
            .await
            .expect("store");
        let picture = bucket
            .blobs
            .put_asset(&digest, "a picture.png", Bytes::from("x"));
        picture.await.expect("store");
        // A clock of its own may be some seconds off.
        let (past, future) = (
            Utc::now() - TimeDelta::hours(1),
            Utc::now() + TimeDelta::hours(1),
        );
        let nobody = Names::default();
        let somebody = Names {
            bundles: [digest].into(),
            ..Names::default()
        };
        let stored: Vec<Stored> = bucket.blobs.stored().try_collect().await.expect("list");
        let ours = |stored: &&Stored| stored.path().contains(&digest.hex());
        let ours: Vec<&Stored> = stored.iter().filter(ours).collect();
        let mut sizes: Vec<u64> = ours.iter().map(|stored| stored.size).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, content.len() as u64], "{}", bucket.url);
        for stored in &ours {
            let verdict = |names, young| stored.verdict(names, young);
            assert_eq!(verdict(&somebody, future), Verdict::Named, "{stored:?}");
            assert_eq!(verdict(&nobody, past), Verdict::Young, "{stored:?}");
            assert_eq!(verdict(&nobody, future), Verdict::Garbage, "{stored:?}");
            let deleted = bucket.blobs.delete_garbage(stored, past).await;
            assert!(!deleted.expect("look"), "{stored:?} is young");
        }
        assert!(bucket.has(&digest).await, "{}", bucket.url);
        for stored in &ours {
            let deleted = bucket.blobs.delete_garbage(stored, future).await;
            assert!(deleted.expect("delete"), "{stored:?}");
        }
        assert!(!bucket.has(&digest).await, "{}", bucket.url);
        let picture = bucket.blobs.asset(&digest, "a picture.png").await;
        assert!(picture.expect("look").is_none(), "{}", bucket.url);
    }
}

#[tokio::test]
#[ignore = "needs servers: make test-buckets"]
async fn a_bucket_that_is_not_there_is_told() {
    for scheme in ["s3", "az", "gs"] {
        let blobs = Blobs::open(&format!("{scheme}://no-such-bucket")).expect(scheme);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("upload");
        std::fs::write(&file, "PK").expect("write a file");
        let error = blobs
            .put_bundle(&Digest::of(b"PK"), &file)
            .await
            .expect_err(scheme);
        assert_eq!(error.code(), "Blob", "{scheme}: {error:?}");
    }
}
