//! Apps as programs publish, see and delete them.

use std::io::{Cursor, Write};

use catalog::Digest;
use reqwest::{Method, Response, header};
use serde_json::{Value, json};

use super::instances::{Program, object};
use super::test_store::TestStore;

const APPS: &str = "/api/v1/apps";

fn bundle(version: &str) -> Vec<u8> {
    let manifest =
        format!("[App]\nName = \"My_App\"\nVersion = \"{version}\"\n[Runtime]\nModule = \"app\"\n");
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in [("app.toml", manifest.as_str()), ("app.py", "print()")] {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(name, options).expect("an entry");
        zip.write_all(content.as_bytes()).expect("written");
    }
    zip.finish().expect("an archive").into_inner()
}

async fn put(store: &TestStore, program: &Program<'_>, query: &str, body: Vec<u8>) -> Response {
    let mut browser = store.browser();
    let request = browser
        .request(Method::PUT, &store.store(&format!("{APPS}{query}")))
        .header(
            header::AUTHORIZATION,
            format!("Bearer {}", program.token.expose()),
        )
        .header(header::CONTENT_TYPE, "application/zip")
        .body(body);
    browser.send(request).await
}

#[tokio::test]
async fn an_app_is_published_followed_and_deleted() {
    let store = TestStore::start().await;
    let alice = store.program("alice").await;
    let content = bundle("1.0.0");
    let digest = Digest::of(&content);
    let answer = put(&store, &alice, "?visibility=AllUsers", content.clone()).await;
    let place = "/api/v1/apps/my-app-1.0.0";
    assert_eq!(answer.headers()[header::LOCATION], place);
    let (status, made) = object(answer).await;
    assert_eq!(status, 202, "{made}");
    assert_eq!(
        made,
        json!({
            "name": "my-app-1.0.0", "owner": "alice", "visibility": "AllUsers",
            "digest": digest.to_string(), "state": "Importing", "message": "",
        })
    );
    let app = store.cluster.app("my-app-1.0.0").expect("a WaveApp");
    assert_eq!(
        app["spec"],
        json!({
            "bundle": { "digest": digest.to_string() }, "owner": "alice", "visibility": "AllUsers",
        })
    );
    let stored = store.blobs.bundle(&digest).await.expect("look");
    assert_eq!(stored.expect("stored").size, content.len() as u64);

    let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status, "reason": "x", "message": "why", "lastTransitionTime": "2026-01-01T00:00:00Z" });
    for (conditions, state) in [
        (
            json!([condition("Ready", "False"), condition("Stalled", "True")]),
            "Failed",
        ),
        (json!([condition("Ready", "True")]), "Ready"),
    ] {
        let status = json!({ "conditions": conditions });
        store.cluster.set_app_status("my-app-1.0.0", status);
        let (_, seen) = alice.get(place).await;
        assert_eq!(
            (&seen["state"], &seen["message"]),
            (&json!(state), &json!("why"))
        );
    }

    let mallory = store.program("mallory").await;
    assert_eq!(mallory.get(place).await.0, 200, "it is for all users");
    let (status, refused) = object(mallory.send(Method::DELETE, place, None).await).await;
    assert_eq!((status, &refused["code"]), (403, &json!("Forbidden")));
    let deleted = alice.send(Method::DELETE, place, None).await;
    assert_eq!(deleted.status().as_u16(), 202);
    assert_eq!(alice.get(place).await.0, 404);
}

#[tokio::test]
async fn what_is_private_is_hidden_from_others() {
    let store = TestStore::start().await;
    let alice = store.program("alice").await;
    put(&store, &alice, "", bundle("1.0.0")).await;
    let mallory = store.program("mallory").await;
    let (hidden, nothing) = (
        mallory.get("/api/v1/apps/my-app-1.0.0").await,
        mallory.get("/api/v1/apps/nothing-1.0.0").await,
    );
    let without_id = |(status, mut problem): (u16, Value)| {
        problem["requestId"].take();
        (status, problem)
    };
    assert_eq!(without_id(hidden), without_id(nothing));
}

#[tokio::test]
async fn what_cannot_be_published_is_refused_and_leaves_nothing() {
    let store = TestStore::start().await;
    let alice = store.program("alice").await;
    let half = {
        let whole = bundle("1.0.0");
        whole[..whole.len() / 2].to_vec()
    };
    let cases = [
        ("", b"<html>".to_vec(), 422, "BadBundle"),
        ("", Vec::new(), 422, "BadBundle"),
        ("", half, 422, "BadBundle"),
        ("?visibility=Everybody", bundle("1.0.0"), 400, "BadRequest"),
    ];
    for (query, body, expected, code) in cases {
        let (status, problem) = object(put(&store, &alice, query, body).await).await;
        assert_eq!(
            (status, &problem["code"]),
            (expected, &json!(code)),
            "{problem}"
        );
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|words| !words.is_empty())
        );
    }
    assert_eq!(store.cluster.app("my-app-1.0.0"), None);
}

#[tokio::test]
async fn a_version_is_published_once_and_a_try_that_failed_is_no_hindrance() {
    let store = TestStore::start().await;
    let alice = store.program("alice").await;
    put(&store, &alice, "", bundle("1.0.0")).await;
    // The table of this router does not know it yet.
    let (status, again) = object(put(&store, &alice, "", bundle("1.0.0")).await).await;
    assert_eq!((status, &again["code"]), (409, &json!("AppExists")));
    let imported = json!({ "app": { "name": "My_App", "version": "1.0.0" } });
    store.cluster.set_app_status("my-app-1.0.0", imported);
    let (status, again) = object(put(&store, &alice, "", bundle("1.0.0")).await).await;
    assert_eq!((status, &again["code"]), (409, &json!("AppExists")));

    let failed = json!({
        "conditions": [{
            "type": "Stalled", "status": "True", "reason": "x", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    });
    store.cluster.set_app_status("my-app-1.0.0", failed);
    let content = bundle("1.0.0");
    let digest = Digest::of(&content);
    let (status, made) = object(put(&store, &alice, "", content).await).await;
    assert_eq!(status, 202, "{made}");
    let expected = format!("my-app-1.0.0-{}", &digest.hex()[..8]);
    assert_eq!(made["name"], json!(expected));
}
