//! Instances that sleep, and what their visitors are told.

use std::time::Duration;

use crds::Visibility;
use futures::future::join_all;
use http::header;
use reqwest::Method;
use serde_json::Value;
use tokio::time::timeout;

use super::test_store::{DEADLINE, TestStore, eventually};
use crate::table::Route;

/// Makes an instance sleep.
fn asleep(route: &mut Route) {
    route.phase = Some("Suspended".to_owned());
    route.ready = true;
    route.upstreams.clear();
    route.idle_timeout = Some(Duration::from_mins(5));
    route.activity.told("2026-01-01T00:00:00Z".parse().ok());
}

/// The next event of a stream that is told to a visitor.
async fn next_event(stream: &mut reqwest::Response) -> Option<String> {
    loop {
        let piece = timeout(DEADLINE, stream.chunk()).await.expect("in time");
        let piece = String::from_utf8(piece.ok()??.to_vec()).expect("text");
        if piece != ":\n\n" {
            return Some(piece);
        }
    }
}

fn object(event: &str) -> Value {
    let json = event.strip_prefix("data: ").expect("data");
    serde_json::from_str(json.trim_end()).expect("json")
}

#[tokio::test]
async fn a_hundred_visitors_cause_one_wake() {
    let store = TestStore::start().await;
    store.change("public", asleep);
    let browser = store.browser();
    let visits = (0..100).map(|_| {
        let visit = browser
            .request(Method::GET, &store.instance("public", "/a"))
            .header(header::ACCEPT, "text/html");
        async { visit.send().await.expect("an answer") }
    });
    for answer in join_all(visits).await {
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key(header::RETRY_AFTER));
        let page = answer.text().await.expect("a page");
        assert!(page.contains("is waking up"), "{page}");
        assert!(page.contains("/.wavestore/phases/public"), "{page}");
    }
    let told = store.cluster.take_told();
    assert_eq!(told.len(), 1, "{told:?}");
    let (path, report) = &told[0];
    let expected = "/apis/wavestore.io/v1alpha1/namespaces/wavestore/waveinstances/public/status";
    assert_eq!(path, expected);
    let status = report["status"].as_object().expect("a status");
    assert_eq!(status.keys().collect::<Vec<_>>(), ["lastActivity"]);
}

#[tokio::test]
async fn sockets_and_programs_are_told_when_to_come_again() {
    let store = TestStore::start().await;
    store.change("public", asleep);
    let browser = store.browser();
    let refused = browser
        .socket(&store.instance("public", "/socket"), &[])
        .await;
    assert_eq!(refused.err(), Some(503));
    assert_eq!(store.cluster.take_told().len(), 1);
    let request = browser
        .request(Method::POST, &store.instance("public", "/"))
        .header(header::ACCEPT, "application/json");
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()[header::RETRY_AFTER], "2");
    let object: Value = answer.json().await.expect("json");
    assert_eq!(
        (&object["code"], &object["phase"]),
        (&"NotReady".into(), &"Waking Up".into())
    );
}

#[tokio::test]
async fn only_who_may_enter_wakes_and_only_what_is_not_suspended() {
    let store = TestStore::start().await;
    store.change("private", asleep);
    let mut mallory = store.signed_in("mallory").await;
    let url = store.instance("private", "/");
    assert_eq!(mallory.visit(&url).await.status(), 404);
    let phases = store.instance("private", "/.wavestore/phases/private");
    assert_eq!(mallory.open(&phases).await.status(), 404);
    assert_eq!(store.browser().open(&phases).await.status(), 401);
    assert!(store.cluster.take_told().is_empty());

    store.change("private", |route| {
        asleep(route);
        route.suspended = true;
    });
    let mut alice = store.signed_in("alice").await;
    let page = alice.visit(&url).await;
    assert_eq!(page.status(), 503);
    let words = page.text().await.expect("a page");
    assert!(words.contains("is suspended"), "{words}");
    assert!(
        words.contains("kubectl patch waveinstance private"),
        "{words}"
    );
    assert!(store.cluster.take_told().is_empty());
}

#[tokio::test]
async fn a_wake_that_is_refused_says_so() {
    let store = TestStore::start().await;
    store.change("public", asleep);
    store.cluster.refuse();
    for _ in 0..2 {
        let answer = store.browser().open(&store.instance("public", "/")).await;
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["x-wavestore-error"], "WakeFailed");
        let page = answer.text().await.expect("a page");
        assert!(page.contains("could not be woken"), "{page}");
        assert!(!page.contains("forbidden"), "{page}");
    }
}

#[tokio::test]
async fn a_visitor_is_told_every_phase_until_the_app_is_ready() {
    let store = TestStore::start().await;
    store.change("private", asleep);
    let mut alice = store.signed_in("alice").await;
    alice.visit(&store.instance("private", "/a")).await;
    let phases = store.instance("private", "/.wavestore/phases/private");
    let mut stream = alice.open(&phases).await;
    assert_eq!(stream.headers()[header::CONTENT_TYPE], "text/event-stream");
    let first = object(&next_event(&mut stream).await.expect("an event"));
    assert_eq!(first["phase"], "Waking Up");
    store.change("private", |route| {
        asleep(route);
        route.phase = Some("Installing Application Dependencies".to_owned());
    });
    let second = object(&next_event(&mut stream).await.expect("an event"));
    assert_eq!(second["phase"], "Installing Application Dependencies");
    store.change("private", |_| {});
    let last = next_event(&mut stream).await.expect("an event");
    assert!(last.starts_with("event: ready\n"), "{last}");
    assert_eq!(next_event(&mut stream).await, None);
}

#[tokio::test]
async fn nobody_is_told_more_once_their_right_is_gone() {
    let store = TestStore::start().await;
    for end in ["unshared", "signed out", "gone"] {
        store.change("shared", asleep);
        let mut mallory = store.signed_in("mallory").await;
        mallory.visit(&store.instance("shared", "/")).await;
        let phases = store.instance("shared", "/.wavestore/phases/shared");
        let mut stream = mallory.open(&phases).await;
        assert!(next_event(&mut stream).await.is_some());
        match end {
            "unshared" => store.change("shared", |route| {
                asleep(route);
                route.visibility = Visibility::Private;
            }),
            "signed out" => {
                assert_eq!(mallory.submit("/sign-out", &[]).await.status(), 303);
            }
            _ => store.publish(Vec::new()),
        }
        assert_eq!(next_event(&mut stream).await, None, "{end}");
        eventually("the place is free", async || store.tunnels.count() == 0).await;
    }
}

#[tokio::test]
async fn another_sites_page_is_told_nothing() {
    let store = TestStore::start().await;
    store.change("public", asleep);
    let browser = store.browser();
    let url = store.instance("public", "/.wavestore/phases/public");
    let foreign = browser
        .request(Method::GET, &url)
        .header("sec-fetch-site", "cross-site");
    assert_eq!(foreign.send().await.expect("an answer").status(), 403);
    // A host tells of its own instance only.
    let other = store.instance("private", "/.wavestore/phases/public");
    assert_eq!(store.browser().open(&other).await.status(), 404);
}

#[tokio::test]
async fn the_last_lines_of_a_crashed_app_are_its_owners() {
    let store = TestStore::start().await;
    let crashed = |route: &mut Route| {
        asleep(route);
        route.ready = false;
        route.failing = true;
        route.phase = Some("Restarting The Application".to_owned());
        route.message = Some("KeyError in the app".to_owned());
        route.pods = vec!["crashed-1".to_owned()];
    };
    store.change("shared", crashed);
    let url = store.instance("shared", "/");
    let phases = store.instance("shared", "/.wavestore/phases/shared");
    let mut alice = store.signed_in("alice").await;
    let page = alice.visit(&url).await.text().await.expect("a page");
    assert!(page.contains("KeyError in the app"), "{page}");
    assert!(
        page.contains("Traceback\nKeyError: &#60;b&#62;</pre>"),
        "{page}"
    );
    let mut stream = alice.open(&phases).await;
    let event = next_event(&mut stream).await.expect("an event");
    assert_eq!(object(&event)["log"], "Traceback\nKeyError: <b>");

    for name in ["mallory", "admin"] {
        let mut other = store.signed_in(name).await;
        let page = other.visit(&url).await.text().await.expect("a page");
        assert!(
            page.contains("Those who may read its log can see why."),
            "{name}: {page}"
        );
        assert!(!page.contains("KeyError"), "{name}: {page}");
        let mut stream = other.open(&phases).await;
        let event = next_event(&mut stream).await.expect("an event");
        assert!(!event.contains("KeyError"), "{name}: {event}");
    }
}

#[tokio::test]
async fn requests_count_as_use_and_are_told() {
    let store = TestStore::start().await;
    let idle = |route: &mut Route| {
        route.idle_timeout = Some(Duration::from_mins(5));
        route.activity.told("2026-01-01T00:00:00Z".parse().ok());
    };
    store.change("public", idle);
    store.reporter.flush().await;
    assert!(store.cluster.take_told().is_empty(), "nobody used it");
    let answer = store.browser().open(&store.instance("public", "/")).await;
    assert_eq!(answer.status(), 200);
    store.reporter.flush().await;
    assert_eq!(store.cluster.take_told().len(), 1);
}
