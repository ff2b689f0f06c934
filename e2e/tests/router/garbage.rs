//! Garbage in the blob store: what nobody names goes, with the rights that the chart gives for it and no others.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use crds::{Visibility, WaveApp};
use e2e::{Sandbox, collect_garbage, condition, pack};

/// Everything below a folder, by its path from there.
fn files(folder: &Path) -> Result<Vec<String>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(each) = folders.pop() {
        for entry in std::fs::read_dir(&each)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path.strip_prefix(folder)?.display().to_string());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Lets a file have been written so many hours ago; makes it when there is none.
fn age(file: &Path, hours: u64) -> Result<()> {
    std::fs::create_dir_all(file.parent().context("in a folder")?)?;
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(file)?;
    Ok(file.set_modified(SystemTime::now() - Duration::from_hours(hours))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_app_names_is_removed_and_nothing_else() -> Result<()> {
    let sandbox = Sandbox::create("garbage").await?;
    let blobs = sandbox.folder().join("blobs");
    let in_blobs = |name: &str| -> PathBuf { blobs.join(name) };
    let mut operator = sandbox.operator().start().await?;
    let manifest = b"[App]\nName = \"hello\"\nVersion = \"1.0.0\"\nTitle = \"Hello\"\n[Runtime]\nModule = \"app\"\n";
    let bundle = pack(&[("app.toml", manifest), ("app.py", b"# nothing")])?;

    // Without any app the namespace is another one, or has lost all of them: not a moment to remove anything.
    let hex = |digit: &str| digit.repeat(64);
    let garbage = [
        format!("assets/sha256/{}/icon.png", hex("a")),
        format!("bundles/sha256/{}.wave", hex("a")),
        format!("envs/{}", "b".repeat(40)),
    ];
    for name in &garbage {
        age(&in_blobs(name), 48)?;
    }
    let refused = collect_garbage(&sandbox, &[]).await?;
    ensure!(
        !refused.success
            && refused.stderr.contains("has no WaveApp")
            && refused.stderr.contains("hint: "),
        "{refused:?}"
    );
    ensure!(files(&blobs)? == garbage, "something was removed");

    sandbox
        .submit("hello", bundle, "alice", Visibility::AllUsers)
        .await?;
    condition(&sandbox.api::<WaveApp>(), "hello", "Ready", |ready| {
        ready.status == "True"
    })
    .await?;
    operator.terminate().await?;
    for name in files(&blobs)? {
        age(&in_blobs(&name), 48)?;
    }
    let young = format!("bundles/sha256/{}.wave", hex("c"));
    age(&in_blobs(&young), 23)?;
    age(&in_blobs("backups/of.db"), 480)?;
    let all = files(&blobs)?;
    ensure!(
        all.len() == garbage.len() + 3,
        "one bundle was imported: {all:?}"
    );

    let told = collect_garbage(&sandbox, &["--dry-run"]).await?;
    ensure!(told.success, "{told:?}");
    for name in &garbage {
        ensure!(
            told.stdout.contains(&format!("would remove: {name} (")),
            "{}",
            told.stdout
        );
    }
    ensure!(files(&blobs)? == all, "a dry run has removed something");

    let told = collect_garbage(&sandbox, &[]).await?;
    ensure!(told.success, "{told:?}");
    for words in [
        "left alone: backups/of.db (0 bytes",
        "3 objects of 0 bytes removed; 1 named, 1 younger than 1day, 1 of other kinds left alone",
    ] {
        ensure!(
            told.stdout.contains(words),
            "no `{words}` in {}",
            told.stdout
        );
    }
    let left = files(&blobs)?;
    let wanted: Vec<String> = all
        .into_iter()
        .filter(|name| !garbage.contains(name))
        .collect();
    ensure!(left == wanted, "{left:?} is left, not {wanted:?}");

    let told = collect_garbage(&sandbox, &["--grace=22h"]).await?;
    ensure!(
        told.stdout.contains(&format!("removed: {young} (")),
        "{told:?}"
    );
    sandbox.passed();
    Ok(())
}
