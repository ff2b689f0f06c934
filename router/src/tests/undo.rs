//! Deletions that can be undone, by pages and by programs.

use k8s_openapi::jiff::Timestamp;
use reqwest::{Method, header};
use serde_json::{Value, json};

use super::audit::trail;
use super::instances::{object, page};
use super::test_store::TestStore;

const PRIVATE: &str = "/api/v1/instances/private";
const LATER: &str = "2999-01-01T12:00:00Z";

/// What the instance's annotation says.
fn asked(store: &TestStore) -> Value {
    let object = store.cluster.instance("private").expect("an instance");
    object["metadata"]["annotations"]["wavestore.io/delete-after"].clone()
}

#[tokio::test]
async fn a_page_deletes_after_a_while_unless_that_is_undone() {
    let store = TestStore::start().await;
    let mut alice = store.signed_in("alice").await;
    let mut mallory = store.signed_in("mallory").await;
    let (keep, now) = (("keep", "true"), ("now", "true"));
    let (here, delete) = ("/instances/private", "/instances/private/delete");

    let before = Timestamp::now();
    let answer = alice.submit(delete, &[]).await;
    let told = "/instances/private?done=will-be-deleted";
    assert_eq!(answer.headers()[header::LOCATION], told);
    let said = asked(&store);
    let at: Timestamp = said.as_str().expect("text").parse().expect("a time");
    let seconds = at.duration_since(before).as_secs();
    assert!(
        (60..65).contains(&seconds),
        "{at} is no minute after {before}"
    );
    let (_, words) = page(alice.open(&store.store(told)).await).await;
    for part in [
        "The instance will be deleted.",
        &format!("<time datetime=\"{}\">", said.as_str().expect("text")),
        ">Undo</button>",
        ">Delete now</button>",
        ">Open the app</a>",
        ">Suspend</button>",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(!words.contains("Delete it"), "{words}");
    let spec = &store.cluster.instance("private").expect("an instance")["spec"];
    assert_eq!(spec["suspended"], json!(false), "it goes on as it is");

    for fields in [&[keep][..], &[now]] {
        let path = if fields[0] == keep { here } else { delete };
        assert_eq!(mallory.submit(path, fields).await.status(), 404, "{path}");
    }
    assert_eq!(asked(&store), said);
    let answer = alice.submit(here, &[keep]).await;
    let told = "/instances/private?done=kept";
    assert_eq!(answer.headers()[header::LOCATION], told);
    assert_eq!(asked(&store), Value::Null);
    let (_, words) = page(alice.open(&store.store(told)).await).await;
    assert!(words.contains("The instance is kept."), "{words}");
    assert!(!words.contains(">Undo</button>"), "{words}");

    // Lists lead to the row where it can be undone.
    for (list, row) in [
        ("/", "/?done=will-be-deleted#instance-private"),
        (
            "/instances?owner=alice",
            "/instances?owner=alice&done=will-be-deleted#instance-private",
        ),
    ] {
        let answer = alice.submit(delete, &[("back", list)]).await;
        assert_eq!(answer.headers()[header::LOCATION], row);
        store.change("private", |route| {
            route.delete_after = LATER.parse().ok();
        });
        let (_, words) = page(alice.open(&store.store(list)).await).await;
        assert!(words.contains("<li class=\"row\" id=\"instance-private\""));
        assert_eq!(words.matches(">Undo</button>").count(), 1, "{words}");
        assert!(words.contains("1 Jan 2999, 12:00:00 UTC"), "{words}");
    }
    let answer = alice.submit(delete, &[now]).await;
    assert_eq!(answer.headers()[header::LOCATION], "/?done=deleted");
    assert_eq!(store.cluster.instance("private"), None);
}

#[tokio::test]
async fn a_program_says_when_an_instance_is_deleted() {
    let store = TestStore::start().await;
    let alice = store.program("alice").await;
    let mallory = store.program("mallory").await;
    let change = |at: &str| Some(json!({ "deleteAfter": at }));
    let cases = [
        ("tomorrow", 422, Value::Null),
        ("2001-01-01T12:00:00Z", 422, Value::Null),
        ("2999-01-01T13:00:00+01:00", 200, json!(LATER)),
        (LATER, 200, json!(LATER)),
        ("2999-01-01T11:00:00Z", 200, json!("2999-01-01T11:00:00Z")),
        ("", 200, Value::Null),
        ("", 200, Value::Null),
    ];
    for (at, status, now) in cases {
        let answer = mallory.send(Method::PATCH, PRIVATE, change(at)).await;
        assert_eq!(answer.status(), 404, "{at}");
        let answer = object(alice.send(Method::PATCH, PRIVATE, change(at)).await).await;
        assert_eq!(answer.0, status, "{at}: {}", answer.1);
        if status == 422 {
            assert_eq!(answer.1["code"], "BadDeletionTime", "{at}");
        }
        assert_eq!(asked(&store), now, "{at}");
        assert_eq!(alice.get(PRIVATE).await.1["deleteAfter"], now, "{at}");
    }
    // Along with another change, and by an admin.
    let admin = store.program("admin").await;
    let both = json!({ "deleteAfter": LATER, "suspended": true });
    let answer = object(admin.send(Method::PATCH, PRIVATE, Some(both)).await).await;
    assert_eq!(
        (&answer.1["deleteAfter"], &answer.1["suspended"]),
        (&json!(LATER), &json!(true))
    );
    // Scripts that delete mean it.
    let answer = alice.send(Method::DELETE, PRIVATE, None).await;
    assert_eq!(answer.status(), 202);
    assert_eq!(store.cluster.instance("private"), None);
    let done = |account: &str, what: &str| format!("{account} instance private: {what}");
    let changed = "changed the instance private: ";
    assert_eq!(
        trail(&store).await,
        [
            done("alice", "deleted the instance private"),
            done(
                "admin",
                &format!("{changed}{{\"deleteAfter\":\"{LATER}\",\"suspended\":true}}")
            ),
            done("alice", &format!("{changed}{{\"deleteAfter\":null}}")),
            done(
                "alice",
                &format!("{changed}{{\"deleteAfter\":\"2999-01-01T11:00:00Z\"}}")
            ),
            done(
                "alice",
                &format!("{changed}{{\"deleteAfter\":\"{LATER}\"}}")
            ),
        ]
    );
}

#[tokio::test]
async fn an_undo_goes_through_though_others_change_the_same_instance() {
    let store = TestStore::start().await;
    let mut alice = store.signed_in("alice").await;
    alice.submit("/instances/private/delete", &[]).await;
    store.cluster.race(3);
    let answer = alice
        .submit("/instances/private", &[("keep", "true")])
        .await;
    assert_eq!(answer.status(), 303);
    assert_eq!(asked(&store), Value::Null);
}
