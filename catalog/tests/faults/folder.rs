//! A folder on a volume that is full or read-only: `WAVESTORE_VOLUME`, of 24 MiB and this process's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{BOTH, Site};

/// Their folder. Tests take turns: it is one volume.
fn volume() -> PathBuf {
    let volume = std::env::var("WAVESTORE_VOLUME").expect("run.sh sets WAVESTORE_VOLUME");
    volume.into()
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

fn remount(volume: &Path, how: &str) {
    let mounted = Command::new("mount")
        .args(["-o", &format!("remount,{how}")])
        .arg(volume)
        .status()
        .expect("mount");
    assert!(mounted.success());
}

#[tokio::test]
#[ignore = "needs a volume: make test-buckets"]
async fn a_volume_that_is_full_or_read_only_is_told_and_nothing_stays() {
    let volume = volume();
    let url = format!("file://{}/blobs", volume.display());
    // In parts, and in one piece.
    for (bytes, taken) in [(10_000_000, 18_000_000), (3_000_000, 23_000_000)] {
        let site = Site::open(&url, bytes);
        let blobs = volume.join("blobs");
        for kind in BOTH {
            let taken_by = volume.join("others");
            std::fs::write(&taken_by, vec![0; taken]).expect("take the room");
            let error = site.store(kind).await.expect_err("full");
            site.require_words(&error, kind, "No space left on device", "make room");
            assert_eq!(files(&blobs), [] as [PathBuf; 0], "{kind:?}");
            site.require_nothing(kind).await;
            std::fs::remove_file(&taken_by).expect("give it back");

            remount(&volume, "ro");
            let error = site.store(kind).await.expect_err("read-only");
            site.require_words(&error, kind, "Read-only file system", "for writing");
            site.require_nothing(kind).await;
            remount(&volume, "rw");

            site.store(kind).await.expect("the second try");
            site.require(kind).await;
            site.delete(kind).await;
        }
    }
}
