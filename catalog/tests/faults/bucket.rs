//! A bucket behind a network that breaks, of a server that is full, closed, busy, silent or slow.

use std::time::Instant;

use catalog::Digest;

use crate::proxy::{self, Asked, Broken, Fault, Which};
use crate::{BOTH, Kind, Site};

/// Three parts, the last one short.
const LARGE: usize = 20_000_001;

/// A part that is neither the first nor the last.
const PART_TWO: Which = |asked: &Asked| asked.query.contains("partNumber=2");
const UPLOADS: Which = |asked| asked.method == "PUT";
const WRITES: Which = |asked| asked.method != "GET" && asked.method != "HEAD";
const COMPLETE: Which = |asked| asked.method == "POST" && asked.query.contains("uploadId=");
const READS: Which = |asked| asked.method == "GET" && asked.query.is_empty();

const ALWAYS: usize = usize::MAX;

const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n\
    Content-Length: 54\r\n\r\n<Error><Code>SlowDown</Code><Message>m</Message></Error>";
const FULL: &str = "HTTP/1.1 507 Insufficient Storage\r\nConnection: close\r\nContent-Length: 25\r\n\r\n\
    <Code>StorageFull</Code>\r\n";
const CLOSED: &str = "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 26\r\n\r\n\
    <Code>AccessDenied</Code>\r\n";

/// A store below a folder of the bucket, behind the proxy.
fn site(folder: &str, bytes: usize) -> Site {
    proxy::start();
    Site::open(&format!("s3://wavestore/{folder}"), bytes)
}

/// Uploads in parts that the server itself knows of, below this folder.
fn unfinished(folder: &str) -> usize {
    let variable = |name: &str| std::env::var(name).expect("run.sh sets it");
    let url = format!("http://{}/wavestore?uploads=", variable("WAVESTORE_S3"));
    let (id, secret) = (
        variable("AWS_ACCESS_KEY_ID"),
        variable("AWS_SECRET_ACCESS_KEY"),
    );
    let nothing = Digest::of(b"").hex();
    let told = std::process::Command::new("curl")
        .args(["--silent", "--fail-with-body"])
        .args(["--header", &format!("x-amz-content-sha256: {nothing}")])
        .args(["--aws-sigv4", "aws:amz:us-east-1:s3"])
        .args(["--user", &format!("{id}:{secret}"), &url])
        .output()
        .expect("curl");
    let told = String::from_utf8(told.stdout).expect("text");
    assert!(told.contains("ListMultipartUploadsResult"), "{told}");
    told.matches(&format!("<Key>{folder}/")).count()
}

/// The fault is overcome.
async fn survives(folder: &str, bytes: usize, which: Which, fault: Fault, times: usize) {
    for kind in BOTH {
        let site = site(folder, bytes);
        let broken = Broken::new(folder, which, fault, times);
        site.store(kind).await.expect("stored in spite of it");
        assert!(broken.met() > 0, "{kind:?}: nothing was broken");
        site.require(kind).await;
        assert_eq!(unfinished(folder), 0, "{kind:?}");
        site.delete(kind).await;
    }
}

/// The fault is told, nothing stays, and the next one succeeds.
async fn is_told(
    folder: &str,
    bytes: usize,
    which: Which,
    fault: Fault,
    (why, hint): (&str, &str),
) {
    for kind in BOTH {
        let site = site(folder, bytes);
        let broken = Broken::new(folder, which, fault, ALWAYS);
        let error = site.store(kind).await.expect_err("it cannot be stored");
        assert!(broken.met() > 0, "{kind:?}: nothing was broken");
        site.require_words(&error, kind, why, hint);
        drop(broken);
        site.require_nothing(kind).await;
        assert_eq!(unfinished(folder), 0, "{kind:?}");
        again(&site, kind).await;
    }
}

async fn again(site: &Site, kind: Kind) {
    site.store(kind).await.expect("the second try");
    site.require(kind).await;
    site.delete(kind).await;
}

#[tokio::test]
#[ignore = "needs servers: make test-buckets"]
async fn a_part_whose_connection_is_lost_is_sent_again() {
    survives("cut-part", LARGE, PART_TWO, Fault::CutRequest(1_000_000), 2).await;
}

#[tokio::test]
#[ignore = "needs servers: make test-buckets"]
async fn a_part_whose_answer_is_lost_is_sent_again() {
    survives("lost-part", LARGE, PART_TWO, Fault::CutAnswer(0), 2).await;
}

#[tokio::test]
#[ignore = "needs servers: make test-buckets"]
async fn a_small_object_whose_answer_is_lost_is_stored() {
    survives("lost-small", 1000, UPLOADS, Fault::CutAnswer(0), 2).await;
}

#[tokio::test]
#[ignore = "needs servers: make test-buckets"]
async fn a_whole_object_whose_last_answer_is_lost_is_stored() {
    survives("lost-end", LARGE, COMPLETE, Fault::CutAnswer(0), 1).await;
}

#[tokio::test]
#[ignore = "needs servers: make test-buckets"]
async fn a_connection_that_is_lost_again_and_again_is_told() {
    let words = ("error sending request", "can be reached");
    is_told(
        "always-cut",
        LARGE,
        PART_TWO,
        Fault::CutRequest(1_000_000),
        words,
    )
    .await;
}

#[tokio::test]
#[ignore = "needs servers: make test-buckets"]
async fn a_server_that_is_busy_for_some_seconds_is_waited_for() {
    let begun = Instant::now();
    // Each kind meets it five times.
    survives("busy", LARGE, PART_TWO, Fault::Answer(BUSY), 5).await;
    assert!(begun.elapsed().as_secs() > 2);
}

#[tokio::test]
#[ignore = "needs servers: make test-buckets"]
async fn a_server_that_stays_busy_is_told_in_time() {
    let begun = Instant::now();
    let words = ("503 Service Unavailable", "can be reached");
    is_told("always-busy", LARGE, WRITES, Fault::Answer(BUSY), words).await;
    let seconds = begun.elapsed().as_secs();
    // Fifteen for each kind, and the last of its pauses.
    assert!((25..60).contains(&seconds), "{seconds} s");
}

#[tokio::test]
#[ignore = "needs servers: make test-buckets"]
async fn a_server_that_is_full_is_told() {
    let words = ("507 Insufficient Storage", "has room");
    is_told("full", LARGE, PART_TWO, Fault::Answer(FULL), words).await;
}

#[tokio::test]
#[ignore = "needs servers: make test-buckets"]
async fn a_bucket_that_takes_no_writes_is_told() {
    let words = ("403 Forbidden", "credentials");
    is_told("closed", LARGE, WRITES, Fault::Answer(CLOSED), words).await;
    is_told("closed-small", 1000, UPLOADS, Fault::Answer(CLOSED), words).await;
    // From the second part on, as when a quota is reached.
    is_told("closed-part", LARGE, PART_TWO, Fault::Answer(CLOSED), words).await;
    is_told("closed-end", LARGE, COMPLETE, Fault::Answer(CLOSED), words).await;
}

#[tokio::test]
#[ignore = "needs servers: make test-buckets"]
async fn a_server_that_falls_silent_is_told_in_time() {
    let words = ("error sending request", "can be reached");
    let begun = Instant::now();
    let site = site("silent", LARGE);
    let broken = Broken::new("silent", PART_TWO, Fault::Silence, ALWAYS);
    let error = site.store(Kind::Bundle).await.expect_err("silence");
    // The kernel gives up first: nothing that it sends is taken.
    let seconds = begun.elapsed().as_secs();
    assert!((25..75).contains(&seconds), "{seconds} s");
    site.require_words(&error, Kind::Bundle, words.0, words.1);
    drop(broken);
    site.require_nothing(Kind::Bundle).await;
    assert_eq!(unfinished("silent"), 0);
    again(&site, Kind::Bundle).await;
}

#[tokio::test]
#[ignore = "needs servers: make test-buckets"]
async fn a_slow_network_needs_longer_than_reading_would_wait() {
    // 42 s for the first part.
    let site = site("slow", 9_000_000);
    let begun = Instant::now();
    let _slow = Broken::new("slow", UPLOADS, Fault::Slow(200_000), ALWAYS);
    let stored = site.store(Kind::Bundle).await;
    stored.expect("stored, if slowly");
    assert!(begun.elapsed().as_secs() > 40);
    site.require(Kind::Bundle).await;
}

/// The abort cannot get through either, so what was sent stays until the bucket's own rule ends it.
#[tokio::test]
#[ignore = "needs servers: make test-buckets"]
async fn a_server_that_goes_away_in_the_middle_keeps_parts_and_shows_none() {
    let gone: Which = |asked| asked.query.contains("partNumber=2") || asked.method == "DELETE";
    let site = site("gone", LARGE);
    let broken = Broken::new("gone", gone, Fault::CutRequest(0), ALWAYS);
    let error = site.store(Kind::Bundle).await.expect_err("gone");
    site.require_words(
        &error,
        Kind::Bundle,
        "error sending request",
        "can be reached",
    );
    drop(broken);
    site.require_nothing(Kind::Bundle).await;
    assert_eq!(unfinished("gone"), 1);
    again(&site, Kind::Bundle).await;
}

#[tokio::test]
#[ignore = "needs servers: make test-buckets"]
async fn what_is_read_is_whole_or_an_error() {
    let site = site("read", LARGE);
    for kind in BOTH {
        site.store(kind).await.expect("store");
        let once = Broken::new("read", READS, Fault::CutAnswer(3_000_000), 2);
        site.require(kind).await;
        assert_eq!(once.met(), 2, "it goes on where it was cut");
        drop(once);

        let always = Broken::new("read", READS, Fault::CutAnswer(3_000_000), ALWAYS);
        let error = site.read(kind).await.expect_err("never whole");
        assert_eq!(error.code(), "Blob", "{error:?}");
        assert_eq!(
            error.to_string(),
            format!("could not read blob `{}`", site.path(kind))
        );
        drop(always);
        site.require(kind).await;
        site.delete(kind).await;
    }
}
