//! What instances use, as those who manage them see it.

use crds::Visibility;
use serde_json::{Value, json};

use super::fake_cluster::Metering;
use super::test_store::TestStore;
use crate::table::Route;

const ONE: &str = "/api/v1/instances/busy";
const PAGE: &str = "/instances/busy";

/// An instance of alice's with this pod.
fn busy(store: &TestStore, pods: &[&str]) {
    let mut route = Route::example("busy", "alice", Visibility::AllUsers);
    route.pods = pods.iter().map(|pod| (*pod).to_owned()).collect();
    store.publish(vec![route]);
}

#[tokio::test]
async fn what_is_measured_is_told_to_those_who_manage_the_instance() {
    let store = TestStore::start().await;
    store.cluster.meter(Metering::Measured);
    busy(&store, &["busy-0", "busy-1"]);
    for name in ["alice", "admin"] {
        let (status, told) = store.program(name).await.get(ONE).await;
        assert_eq!(status, 200, "{told}");
        assert_eq!(
            told["usage"],
            json!({
                "cpuMillicores": 30, "cpuLimitMillicores": 1000,
                "memoryBytes": 212 << 20, "memoryLimitBytes": 1 << 30,
                "measuredAt": "2026-01-01T12:00:00Z",
            })
        );
        let mut browser = store.signed_in(name).await;
        let page = browser.open(&store.store(PAGE)).await;
        let page = page.text().await.expect("a page");
        for words in [
            "212 MiB of 1 GiB of memory, 0.03 of 1 CPU",
            "1 Jan 2026, 12:00 UTC",
        ] {
            assert!(page.contains(words), "{page}");
        }
    }
    // All that was one look at the pod; a list is none.
    assert_eq!(store.cluster.metered(), 1);
    let alice = store.program("alice").await;
    let (_, list) = alice.get("/api/v1/instances").await;
    assert_eq!(list["items"][0]["usage"], Value::Null, "{list}");
    let (status, _) = store.program("mallory").await.get(ONE).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn what_is_not_measured_is_left_out_and_nobody_waits_for_it() {
    let store = TestStore::start().await;
    let alice = store.program("alice").await;
    let mut browser = store.signed_in("alice").await;
    let cases = [
        (Metering::Absent, &["absent-1"][..]),
        (Metering::Forbidden, &["forbidden-1"]),
        (Metering::Silent, &["silent-1"]),
        (Metering::Measured, &["new-1"]),
        (Metering::Measured, &[]),
    ];
    for (metering, pods) in cases {
        store.cluster.meter(metering);
        busy(&store, pods);
        let (status, told) = alice.get(ONE).await;
        assert_eq!((status, &told["name"]), (200, &json!("busy")));
        assert_eq!(told.get("usage"), None, "{metering:?}: {told}");
        let page = browser.open(&store.store(PAGE)).await;
        assert_eq!(page.status(), 200, "{metering:?}");
        let page = page.text().await.expect("a page");
        assert!(!page.contains("What it uses"), "{metering:?}: {page}");
    }
    // Who has no pod has none that could be asked for.
    assert_eq!(store.cluster.metered(), 4);
}
