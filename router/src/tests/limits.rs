//! What users may have and have, as admins see it.

use std::sync::Arc;

use crds::Visibility;
use serde_json::{Value, json};

use super::test_store::TestStore;
use crate::table::{AppEntry, Route, Snapshot};

const LIMITS: &str = "/api/v1/limits";

/// So many instances each, of an app that may take a gibibyte.
fn run(store: &TestStore, users: &[(&str, usize)]) {
    let mut snapshot = Snapshot::clone(&store.table.load());
    let app = AppEntry {
        memory: 1 << 30,
        ..AppEntry::example("hello", "1.0.0")
    };
    snapshot.apps.insert(app.app.clone(), Arc::new(app));
    store.table.publish(snapshot);
    let routes = users.iter().flat_map(|(user, count)| {
        (0..*count).map(move |number| {
            let name = format!("{user}-{number}");
            Route::example(&name, user, Visibility::Private)
        })
    });
    store.publish(routes.collect());
}

#[tokio::test]
async fn an_admin_sees_who_is_nearest_to_a_limit() {
    let store = TestStore::start().await;
    run(&store, &[("alice", 2), ("mallory", 6), ("vera", 1)]);
    let admin = store.program("admin").await;
    let user = |name: &str, count: u64| json!({ "name": name, "instances": count, "memoryBytes": count << 30 });
    let (status, told) = admin.get(LIMITS).await;
    assert_eq!(status, 200);
    assert_eq!(
        told,
        json!({
            "instancesPerUser": 5, "memoryPerUserBytes": 8_u64 << 30,
            "users": [user("mallory", 6), user("alice", 2), user("vera", 1)], "moreUsers": 0,
        })
    );
    let (_, told) = admin.get(&format!("{LIMITS}?limit=1")).await;
    assert_eq!(
        (&told["users"], &told["moreUsers"]),
        (&json!([user("mallory", 6)]), &json!(2))
    );
    let (status, _) = admin.get(&format!("{LIMITS}?limit=0")).await;
    assert_eq!(status, 400);

    let mut browser = store.signed_in("admin").await;
    let page = browser.open(&store.store("/limits")).await;
    let page = page.text().await.expect("a page");
    for words in [
        "<strong>8Gi</strong>",
        "6 of 5 instances · 6 GiB of 8 GiB of memory",
        "Over the limit",
        "href=\"/instances?owner=mallory\"",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let mut alice = store.signed_in("alice").await;
    let home = alice.open(&store.store("/")).await;
    assert!(!home.text().await.expect("a page").contains("/limits"));
}

#[tokio::test]
async fn whoever_has_nothing_is_not_listed() {
    let store = TestStore::start().await;
    run(&store, &[]);
    let (_, told) = store.program("admin").await.get(LIMITS).await;
    assert_eq!(
        (&told["users"], &told["moreUsers"]),
        (&Value::Array(Vec::new()), &json!(0))
    );
}
