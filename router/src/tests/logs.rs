//! Logs as their owners read them.

use catalog::{AccountChange, Role, Scope};
use crds::Visibility;
use reqwest::{Method, Response, header};
use serde_json::json;
use tokio::time::timeout;

use super::instances::object;
use super::test_store::{DEADLINE, TestStore, eventually};
use crate::table::Route;

const LOG: &str = "/api/v1/instances/chatty/logs";

/// An instance of `owner` whose pod has written three lines.
fn chatty(store: &TestStore, owner: &str) {
    let mut route = Route::example("chatty", owner, Visibility::AllUsers);
    route.pods = vec!["chatty-1".to_owned()];
    store.publish(vec![route]);
    if store.cluster.readers() == 0 {
        for line in ["one", "two", "three"] {
            store.cluster.write(line);
        }
    }
}

/// The next piece of an answer; none at its end.
async fn next(answer: &mut Response) -> Option<String> {
    let piece = timeout(DEADLINE, answer.chunk()).await.expect("in time");
    let piece = piece.expect("a body")?;
    Some(String::from_utf8(piece.to_vec()).expect("text"))
}

#[tokio::test]
async fn a_log_is_read_and_followed_by_its_owner() {
    let store = TestStore::start().await;
    chatty(&store, "alice");
    let alice = store.program("alice").await;
    let answer = alice.send(Method::GET, LOG, None).await;
    assert_eq!(
        answer.headers()[header::CONTENT_TYPE],
        "text/plain; charset=utf-8"
    );
    assert_eq!(answer.text().await.expect("a log"), "one\ntwo\nthree\n");
    let last = format!("{LOG}?tailLines=1");
    let last = alice.send(Method::GET, &last, None).await;
    assert_eq!(last.text().await.expect("a log"), "three\n");

    let follow = format!("{LOG}?follow=true&tailLines=2");
    let mut followed = alice.send(Method::GET, &follow, None).await;
    assert_eq!(next(&mut followed).await.as_deref(), Some("two\nthree\n"));
    // It goes on while it is asked again who reads, as it is when somebody may not any more.
    let revoked = store.token("alice", &[Scope::Store]).await;
    let mut browser = store.browser();
    let request = browser.request(Method::GET, &store.store(&follow));
    let mut other = browser.send(request.bearer_auth(revoked.expose())).await;
    assert_eq!(next(&mut other).await.as_deref(), Some("two\nthree\n"));
    let is_revoked = store.catalog.revoke_token("alice", &revoked.key()).await;
    assert!(is_revoked.expect("an answer"));
    assert_eq!(next(&mut other).await, None);
    store.cluster.write("four");
    assert_eq!(next(&mut followed).await.as_deref(), Some("four\n"));
    // Whoever leaves gives their place back, there and here.
    drop(followed);
    store.cluster.write("five");
    eventually("nobody reads any more", async || {
        store.cluster.readers() == 0
    })
    .await;
}

#[tokio::test]
async fn a_log_ends_with_the_right_to_read_it() {
    let store = TestStore::start().await;
    chatty(&store, "alice");
    let alice = store.program("alice").await;
    let follow = format!("{LOG}?follow=true&tailLines=1");
    let mut followed = alice.send(Method::GET, &follow, None).await;
    assert_eq!(next(&mut followed).await.as_deref(), Some("three\n"));
    // It is for all users, so alice may still enter; its log is somebody else's now.
    chatty(&store, "mallory");
    assert_eq!(next(&mut followed).await, None);

    chatty(&store, "alice");
    let mut followed = alice.send(Method::GET, &follow, None).await;
    assert_eq!(next(&mut followed).await.as_deref(), Some("three\n"));
    store
        .catalog
        .change_account("alice", AccountChange::role(Role::Visitor), None)
        .await
        .expect("a role");
    assert_eq!(next(&mut followed).await, None);
}

#[tokio::test]
async fn a_log_is_nobody_elses() {
    let store = TestStore::start().await;
    chatty(&store, "alice");
    for (name, status, code) in [("mallory", 404, "NotFound"), ("admin", 403, "LogForbidden")] {
        let program = store.program(name).await;
        let (found, problem) = object(program.send(Method::GET, LOG, None).await).await;
        assert_eq!((found, &problem["code"]), (status, &json!(code)), "{name}");
    }
    chatty(&store, "vera");
    let vera = store.program("vera").await;
    let (status, problem) = vera.get(LOG).await;
    assert_eq!((status, &problem["code"]), (403, &json!("LogForbidden")));
    let token = store.token("alice", &[Scope::Instances]).await;
    let mut browser = store.browser();
    let request = browser
        .request(Method::GET, &store.store(LOG))
        .bearer_auth(token.expose());
    assert_eq!(browser.send(request).await.status(), 403);
}

#[tokio::test]
async fn what_has_no_log_says_so() {
    let store = TestStore::start().await;
    let alice = store.program("alice").await;
    for pods in [Vec::new(), vec!["waiting-1".to_owned()]] {
        let mut route = Route::example("chatty", "alice", Visibility::Private);
        route.pods = pods;
        store.publish(vec![route]);
        let (status, problem) = alice.get(LOG).await;
        assert_eq!((status, &problem["code"]), (409, &json!("NoLog")));
    }
    for query in ["tailLines=-1", "tailLines=x", "follow=yes", "previous=1"] {
        let (status, _) = alice.get(&format!("{LOG}?{query}")).await;
        assert_eq!(status, 400, "{query}");
    }
}

#[tokio::test]
async fn a_log_has_places_for_a_few_readers() {
    let store = TestStore::start().await;
    chatty(&store, "alice");
    let alice = store.program("alice").await;
    let follow = format!("{LOG}?follow=true");
    let mut readers = Vec::new();
    for _ in 0..5 {
        let answer = alice.send(Method::GET, &follow, None).await;
        assert_eq!(answer.status(), 200);
        readers.push(answer);
    }
    let (status, problem) = alice.get(&follow).await;
    assert_eq!((status, &problem["code"]), (503, &json!("Busy")));
    drop(readers);
    eventually("a place is free again", async || {
        alice.send(Method::GET, &follow, None).await.status() == 200
    })
    .await;
}
