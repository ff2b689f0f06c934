//! Bundles and pictures in a folder.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use futures::TryStreamExt as _;
use futures::future::join_all;
use tempfile::TempDir;

use crate::{Blob, Blobs, Digest, EnvironmentKey, Names, Stored, Verdict};

/// A blob store, and a folder beside it for files to be stored.
struct TestBlobs {
    folder: TempDir,
    blobs: Blobs,
}

impl TestBlobs {
    fn open() -> Self {
        let folder = tempfile::tempdir().expect("make a folder");
        let store = folder.path().join("blobs");
        std::fs::create_dir(&store).expect("make a folder");
        let blobs = Blobs::open(&format!("file://{}", store.display())).expect("open");
        Self { folder, blobs }
    }

    fn file(&self, content: &[u8]) -> PathBuf {
        let file = self.folder.path().join("upload");
        std::fs::write(&file, content).expect("write a file");
        file
    }

    /// Lets everything have been written so long ago.
    fn age(&self, age: Duration) {
        let mut files = Vec::new();
        list(&self.folder.path().join("blobs"), &mut files);
        for path in files {
            let file = std::fs::File::options()
                .append(true)
                .open(&path)
                .expect("open a file");
            file.set_modified(SystemTime::now() - age)
                .expect("set its time");
        }
    }

    fn stored(&self) -> Vec<String> {
        let store = self.folder.path().join("blobs");
        let mut files = Vec::new();
        list(&store, &mut files);
        let mut names: Vec<String> = files
            .iter()
            .map(|file| {
                let name = file.strip_prefix(&store).expect("inside the store");
                name.display().to_string()
            })
            .collect();
        names.sort();
        names
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("read a folder") {
        let path = entry.expect("read a folder").path();
        if path.is_dir() {
            list(&path, files);
        } else {
            files.push(path);
        }
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
fn large() -> Vec<u8> {
    (0..20_000_001_u32)
        .map(|number| number.to_le_bytes()[(number % 3) as usize])
        .collect()
}

#[tokio::test]
async fn a_bundle_comes_back_as_it_was_stored() {
    let test = TestBlobs::open();
    for content in [b"PK".to_vec(), Vec::new(), large()] {
        let digest = Digest::of(&content);
        assert!(test.blobs.bundle(&digest).await.expect("look").is_none());
        let file = test.file(&content);
        for _ in 0..2 {
            test.blobs.put_bundle(&digest, &file).await.expect("store");
        }
        let read = read(test.blobs.bundle(&digest).await.expect("look")).await;
        assert!(read == content, "{digest}");
        let name = format!("bundles/sha256/{}.wave", digest.hex());
        assert!(test.stored().contains(&name), "{name}");
    }
    assert_eq!(test.stored().len(), 3);
}

#[tokio::test]
async fn replicas_may_store_a_bundle_at_once() {
    let test = TestBlobs::open();
    let content = large();
    let digest = Digest::of(&content);
    let file = test.file(&content);
    for stored in join_all((0..4).map(|_| test.blobs.put_bundle(&digest, &file))).await {
        stored.expect("store");
    }
    assert!(read(test.blobs.bundle(&digest).await.expect("look")).await == content);
    assert_eq!(test.stored().len(), 1);
}

#[tokio::test]
async fn a_file_with_another_digest_leaves_nothing() {
    let test = TestBlobs::open();
    let file = test.file(b"cut short");
    let promised = Digest::of(b"the whole bundle");
    let error = test
        .blobs
        .put_bundle(&promised, &file)
        .await
        .expect_err("refused");
    assert_eq!(
        error.to_string(),
        format!(
            "`{}` has the digest {}, not {promised}",
            file.display(),
            Digest::of(b"cut short")
        )
    );
    assert!(test.blobs.bundle(&promised).await.expect("look").is_none());
    assert_eq!(test.stored(), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_crash_left_behind_does_no_harm() {
    let test = TestBlobs::open();
    let content = b"the whole bundle";
    let digest = Digest::of(content);
    let folder = test.folder.path().join("blobs/bundles/sha256");
    std::fs::create_dir_all(&folder).expect("make folders");
    // As the folder backend names what it is writing.
    let unfinished = folder.join(format!("{}.wave#1", digest.hex()));
    std::fs::write(unfinished, "the wh").expect("write a file");
    assert!(test.blobs.bundle(&digest).await.expect("look").is_none());
    let file = test.file(content);
    test.blobs.put_bundle(&digest, &file).await.expect("store");
    assert_eq!(
        read(test.blobs.bundle(&digest).await.expect("look")).await,
        content
    );
}

#[tokio::test]
async fn a_damaged_bundle_is_stored_again() {
    let test = TestBlobs::open();
    let content = b"the whole bundle";
    let digest = Digest::of(content);
    let file = test.file(content);
    test.blobs.put_bundle(&digest, &file).await.expect("store");
    let damaged = test.folder.path().join("blobs").join(&test.stored()[0]);
    std::fs::write(damaged, "the wh").expect("damage it");
    test.blobs.put_bundle(&digest, &file).await.expect("store");
    assert_eq!(
        read(test.blobs.bundle(&digest).await.expect("look")).await,
        content
    );
}

#[tokio::test]
async fn a_bundle_with_other_bytes_is_not_read_to_its_end() {
    let test = TestBlobs::open();
    let content = b"the whole bundle";
    let digest = Digest::of(content);
    let file = test.file(content);
    test.blobs.put_bundle(&digest, &file).await.expect("store");
    let damaged = test.folder.path().join("blobs").join(&test.stored()[0]);
    std::fs::write(damaged, "the whole bUndle").expect("damage it");
    let blob = test.blobs.bundle(&digest).await.expect("look");
    let read: Result<Vec<Bytes>, _> = blob.expect("a blob").stream.try_collect().await;
    assert_eq!(read.expect_err("damaged").code(), "DamagedBlob");
}

#[tokio::test]
async fn a_file_that_is_missing_is_named() {
    let test = TestBlobs::open();
    let file = test.folder.path().join("missing");
    let error = test
        .blobs
        .put_bundle(&Digest::of(b""), &file)
        .await
        .expect_err("missing");
    assert_eq!(
        error.to_string(),
        format!("could not read `{}`", file.display())
    );
}

#[tokio::test]
async fn assets_keep_their_names_and_first_content() {
    let test = TestBlobs::open();
    let digest = Digest::of(b"bundle");
    for name in ["icon.png", "screenshot 1 (ä) #1 100%.png", "a..b", "~"] {
        for content in ["first", "second"] {
            test.blobs
                .put_asset(&digest, name, Bytes::from(content))
                .await
                .expect(name);
        }
        let read = read(test.blobs.asset(&digest, name).await.expect("look")).await;
        assert_eq!(read, b"first", "{name}");
    }
    assert!(
        test.blobs
            .asset(&digest, "other.png")
            .await
            .expect("look")
            .is_none()
    );
    let other = Digest::of(b"other");
    assert!(
        test.blobs
            .asset(&other, "icon.png")
            .await
            .expect("look")
            .is_none()
    );
    let icon = format!("assets/sha256/{}/icon.png", digest.hex());
    assert!(test.stored().contains(&icon), "{:?}", test.stored());
}

#[tokio::test]
async fn asset_names_stay_inside_their_folder() {
    let test = TestBlobs::open();
    let digest = Digest::of(b"bundle");
    let long = "a".repeat(201);
    for (name, reason) in [
        ("", "it is empty"),
        (".", "it starts with a dot"),
        ("..", "it starts with a dot"),
        (".hidden", "it starts with a dot"),
        ("../../bundles/x", "it holds a slash"),
        ("a/b", "it holds a slash"),
        ("/etc/passwd", "it holds a slash"),
        ("a\\b", "it holds a slash"),
        ("a\nb", "it holds control characters"),
        ("a\0b", "it holds control characters"),
        (&long, "it is longer than 200 bytes"),
    ] {
        let expected = format!("`{name}` cannot be the name of an asset: {reason}");
        let put = test.blobs.put_asset(&digest, name, Bytes::new()).await;
        assert_eq!(put.expect_err(name).to_string(), expected);
        let get = test.blobs.asset(&digest, name).await;
        assert_eq!(get.expect_err(name).to_string(), expected);
    }
    assert_eq!(test.stored(), Vec::<String>::new());
}

#[tokio::test]
async fn deleting_an_app_takes_its_bundle_and_assets_and_no_others() {
    let test = TestBlobs::open();
    let content: &[&[u8]] = &[b"one", b"two"];
    for content in content {
        let digest = Digest::of(content);
        let file = test.file(content);
        test.blobs.put_bundle(&digest, &file).await.expect("store");
        for name in ["icon.png", "screenshot1.png"] {
            let stored = test
                .blobs
                .put_asset(&digest, name, Bytes::from_static(b"x"));
            stored.await.expect("store");
        }
    }
    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    for _ in 0..2 {
        test.blobs.delete_app(&one).await.expect("delete");
    }
    assert_eq!(
        test.stored(),
        [
            format!("assets/sha256/{}/icon.png", two.hex()),
            format!("assets/sha256/{}/screenshot1.png", two.hex()),
            format!("bundles/sha256/{}.wave", two.hex()),
        ]
    );
}

#[tokio::test]
async fn an_environment_is_stored_once_and_as_a_whole() {
    let test = TestBlobs::open();
    let key = EnvironmentKey::from_sha256([0xab; 32]);
    let begin = async || test.blobs.put_environment(&key).await.expect("begin");
    let content = large();
    let pieces = |size| content.chunks(size).map(Bytes::copy_from_slice);

    let mut upload = begin().await.expect("none is there");
    for piece in pieces(1 << 20).take(9) {
        upload.write(piece).await.expect("write");
    }
    assert!(!test.blobs.has_environment(&key).await.expect("look"));
    upload.abort().await;
    assert_eq!(test.stored(), Vec::<String>::new());

    let mut upload = begin().await.expect("none is there");
    for piece in pieces(10_000_000) {
        upload.write(piece).await.expect("write");
    }
    assert_eq!(upload.finish().await.expect("finish"), Digest::of(&content));
    assert_eq!(test.stored(), [format!("envs/{key}")]);
    let stored = read(test.blobs.environment(&key).await.expect("look")).await;
    assert!(stored == content);
    assert!(begin().await.is_none(), "it is there");

    let (now, day) = (chrono::Utc::now(), chrono::TimeDelta::days(1));
    let before = async |time| test.blobs.environments_before(time).await.expect("list");
    assert_eq!(before(now - day).await, []);
    assert_eq!(before(now + day).await, [key]);
    for _ in 0..2 {
        test.blobs.delete_environment(&key).await.expect("delete");
    }
    assert_eq!(before(now + day).await, []);
}

#[tokio::test]
async fn a_lock_outlives_its_environment_and_is_replaced() {
    let test = TestBlobs::open();
    let key = EnvironmentKey::from_sha256([0xab; 32]);
    assert!(test.blobs.lock(&key).await.expect("look").is_none());
    for lock in ["pandas==2.0.0\n", "pandas==2.1.0\n"] {
        let stored = test
            .blobs
            .put_lock(&key, Bytes::from_static(lock.as_bytes()));
        stored.await.expect("store");
        test.blobs.delete_environment(&key).await.expect("delete");
        let read = read(test.blobs.lock(&key).await.expect("look")).await;
        assert_eq!(read, lock.as_bytes());
    }
    for _ in 0..2 {
        test.blobs.delete_lock(&key).await.expect("delete");
    }
    assert_eq!(test.stored(), Vec::<String>::new());
}

#[tokio::test]
async fn garbage_goes_and_what_was_stored_again_meanwhile_stays() {
    let test = TestBlobs::open();
    let key = EnvironmentKey::from_sha256([7; 32]);
    let contents: [&[u8]; 2] = [b"one", b"two"];
    for content in contents {
        let digest = Digest::of(content);
        let file = test.file(content);
        test.blobs.put_bundle(&digest, &file).await.expect("store");
        let stored = test
            .blobs
            .put_asset(&digest, "icon.png", Bytes::from_static(b"x"));
        stored.await.expect("store");
    }
    let mut upload = test
        .blobs
        .put_environment(&key)
        .await
        .expect("begin")
        .expect("none");
    upload
        .write(Bytes::from_static(b"env"))
        .await
        .expect("write");
    upload.finish().await.expect("finish");
    test.age(Duration::from_hours(48));

    let young = Utc::now() - TimeDelta::days(1);
    let found: Vec<Stored> = test.blobs.stored().try_collect().await.expect("list");
    assert_eq!(found.len(), 5);
    for stored in &found {
        assert_eq!(
            stored.verdict(&Names::default(), young),
            Verdict::Garbage,
            "{stored:?}"
        );
    }

    // Whoever is about to name the first one finds it there. The second one is named, so nothing tells that somebody has asked for it.
    let [one, two] = contents.map(Digest::of);
    test.blobs
        .put_bundle(&one, &test.file(b"one"))
        .await
        .expect("store");
    test.blobs
        .put_named_bundle(&two, &test.file(b"two"))
        .await
        .expect("store");
    let mut deleted = 0;
    for stored in &found {
        deleted += usize::from(
            test.blobs
                .delete_garbage(stored, young)
                .await
                .expect("delete"),
        );
    }
    assert_eq!(deleted, 3);
    assert_eq!(
        test.stored(),
        [
            format!("assets/sha256/{}/icon.png", one.hex()),
            format!("bundles/sha256/{}.wave", one.hex()),
        ]
    );
}

#[tokio::test]
async fn a_bundle_that_is_there_is_not_written_again_for_a_while() {
    let test = TestBlobs::open();
    let digest = Digest::of(b"one");
    let put = async || {
        test.blobs
            .put_bundle(&digest, &test.file(b"one"))
            .await
            .expect("store");
    };
    put().await;
    let minutes = |minutes| Duration::from_mins(minutes);
    for (age, again) in [(minutes(29), false), (minutes(31), true)] {
        test.age(age);
        let before: Vec<Stored> = test.blobs.stored().try_collect().await.expect("list");
        put().await;
        let after: Vec<Stored> = test.blobs.stored().try_collect().await.expect("list");
        assert_eq!(before != after, again, "{age:?}");
    }
}

#[test]
fn a_folder_is_made_on_a_volume_that_is_there() {
    let volume = tempfile::tempdir().expect("a folder");
    let url = format!("file://{}/blobs", volume.path().display());
    Blobs::open(&url).expect("made");
    Blobs::open(&url).expect("there already");
}

#[test]
fn a_store_that_cannot_be_used_is_explained() {
    let error = Blobs::open("file:///nowhere/blobs").expect_err("missing");
    assert_eq!(
        error.to_string(),
        "the blob store's folder `/nowhere/blobs` cannot be used"
    );
    assert_eq!(
        error.hint().as_deref(),
        Some(
            "create `/nowhere/blobs`, or mount a volume there, so that this process's user may write to it"
        )
    );
    let error = Blobs::open("file:///proc").expect_err("not writable");
    assert_eq!(error.code(), "BlobsFolder");
    for (url, message) in [
        (
            "s3://key:hunter2@bucket/x?token=hunter2",
            "the blob store's URL `s3://bucket/x` cannot be used: credentials belong in the environment",
        ),
        (
            "gs:///x",
            "the blob store's URL `gs:///x` cannot be used: it names no bucket",
        ),
        (
            "ftp://bucket/x",
            "the blob store's URL `ftp://bucket/x` cannot be used: `ftp:` is not supported",
        ),
        (
            "/data/blobs",
            "the blob store's URL `(unreadable)` cannot be used: relative URL without a base",
        ),
    ] {
        assert_eq!(Blobs::open(url).expect_err(url).to_string(), message);
    }
}
