//! Apps as programs publish, see and delete them.

use std::io::{Cursor, Write};

use catalog::Digest;
use crds::{AppRef, Visibility};
use reqwest::{Method, Response, header};
use serde_json::{Value, json};

use super::instances::{Program, object};
use super::test_store::TestStore;
use crate::table::{AppEntry, Route, Snapshot};

const APPS: &str = "/api/v1/apps";

fn bundle(version: &str) -> Vec<u8> {
    bundle_with(version, &[])
}

pub(super) fn bundle_with(version: &str, tags: &[&str]) -> Vec<u8> {
    let manifest = format!(
        "[App]\nName = \"My_App\"\nVersion = \"{version}\"\nTags = {tags:?}\n[Runtime]\nModule = \"app\"\n"
    );
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in [("app.toml", manifest.as_str()), ("app.py", "print()")] {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(name, options).expect("an entry");
        zip.write_all(content.as_bytes()).expect("written");
    }
    zip.finish().expect("an archive").into_inner()
}

pub(super) async fn put(
    store: &TestStore,
    program: &Program<'_>,
    query: &str,
    body: Vec<u8>,
) -> Response {
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
            "createdAt": "2026-01-01T00:00:00Z",
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
async fn an_app_is_run_before_this_replica_is_told_of_it() {
    let store = TestStore::start().await;
    let alice = store.program("alice").await;
    put(&store, &alice, "", bundle("1.0.0")).await;
    let app = json!({ "name": "my-app", "version": "1.0.0" });
    let run = async |wanted: &Value| {
        let wanted = Some(json!({ "app": wanted }));
        let answer = alice.send(Method::POST, "/api/v1/instances", wanted);
        let (status, told) = object(answer.await).await;
        (status, told["code"].clone())
    };
    assert_eq!(run(&app).await, (422, json!("NoApp")));
    for (ready, expected) in [
        ("False", (409, json!("AppNotReady"))),
        ("True", (201, Value::Null)),
    ] {
        let condition = json!({
            "type": "Ready", "status": ready, "reason": "x", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let status = json!({ "app": app, "conditions": [condition] });
        store.cluster.set_app_status("my-app-1.0.0", status);
        assert_eq!(run(&app).await, expected);
    }
    let other = json!({ "name": "my.app", "version": "1.0.0" });
    assert_eq!(run(&other).await, (422, json!("NoApp")));
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

/// What the operator says of an app that it has imported, and what the table has of it.
fn import(store: &TestStore, name: &str, version: &str, visibility: Visibility) {
    let app = json!({ "name": name, "version": version });
    let condition = |kind: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    let object = format!("my-app-{version}");
    let content = bundle(version);
    let status = json!({
        "app": app, "title": "My app", "digest": Digest::of(&content).to_string(),
        "environment": { "key": "k", "digest": "sha256:1", "failures": 0 },
        "conditions": [
            condition("Ready", "Imported", "the app is in the catalog; an icon is left out"),
            condition("EnvironmentReady", "EnvironmentBuilt", "built"),
        ],
    });
    store.cluster.set_app_status(&object, status);
    let entry = AppEntry {
        object,
        owner: "alice".to_owned(),
        visibility,
        ..AppEntry::example(name, version)
    };
    let mut snapshot = Snapshot::clone(&store.table.load());
    snapshot.apps.insert(entry.app.clone(), entry.into());
    store.table.publish(snapshot);
}

#[tokio::test]
async fn an_app_shows_its_versions_its_import_and_its_environment() {
    let store = TestStore::start().await;
    let alice = store.program("alice").await;
    for version in ["1.0.0", "1.1.0"] {
        put(&store, &alice, "?visibility=AllUsers", bundle(version)).await;
        import(&store, "My_App", version, Visibility::AllUsers);
    }
    let (status, seen) = alice.get("/api/v1/apps/my-app-1.0.0").await;
    assert_eq!(status, 200, "{seen}");
    let fields =
        |names: &[&str]| -> Vec<Value> { names.iter().map(|name| seen[*name].clone()).collect() };
    assert_eq!(
        fields(&["app", "title", "state", "message", "page"]),
        [
            json!({ "name": "My_App", "version": "1.0.0" }),
            json!("My app"),
            json!("Ready"),
            json!("the app is in the catalog; an icon is left out"),
            json!("/apps/My_App/1.0.0"),
        ]
    );
    assert_eq!(
        seen["environment"],
        json!({ "ready": true, "reason": "EnvironmentBuilt", "message": "built", "digest": "sha256:1" })
    );
    assert_eq!(
        seen["versions"],
        json!([
            { "name": "my-app-1.1.0", "version": "1.1.0", "ready": true },
            { "name": "my-app-1.0.0", "version": "1.0.0", "ready": true },
        ])
    );

    // The bundle is for those who manage the app.
    let path = "/api/v1/apps/my-app-1.1.0/bundle";
    let answer = alice.send(Method::GET, path, None).await;
    assert_eq!(answer.status(), 200);
    let named = &answer.headers()[header::CONTENT_DISPOSITION];
    assert_eq!(named, "attachment; filename=\"My_App.1.1.0.wave\"");
    assert_eq!(answer.bytes().await.expect("a body"), bundle("1.1.0"));
    let mallory = store.program("mallory").await;
    let (status, problem) = mallory.get(path).await;
    assert_eq!((status, &problem["code"]), (403, &json!("Forbidden")));
    for nothing in ["/api/v1/apps/none/bundle", "/api/v1/apps/%2e%2e/bundle"] {
        assert_eq!(alice.get(nothing).await.0, 404, "{nothing}");
    }
}

#[tokio::test]
async fn apps_are_listed_piece_by_piece_to_those_who_see_them() {
    let store = TestStore::start().await;
    for (name, visibility) in [
        ("sales", Visibility::AllUsers),
        ("hello", Visibility::AllUsers),
        ("closed", Visibility::Private),
    ] {
        store.publish_app(name, visibility).await;
    }
    let read = async |program: &Program<'_>, query: &str| {
        let mut next = Some(format!("{APPS}?limit=1{query}"));
        let mut names = Vec::new();
        while let Some(path) = next {
            let (status, page) = program.get(&path).await;
            assert_eq!(status, 200, "{page}");
            let items = page["items"].as_array().expect("a list");
            assert!(items.len() <= 1);
            let all = items.iter().map(|item| item["app"]["name"].clone());
            names.extend(all.map(|name| name.as_str().expect("a name").to_owned()));
            next = page["next"].as_str().map(str::to_owned);
        }
        names
    };
    let (alice, mallory) = (store.program("alice").await, store.program("mallory").await);
    assert_eq!(read(&alice, "").await, ["closed", "hello", "sales"]);
    assert_eq!(read(&mallory, "").await, ["hello", "sales"]);
    assert_eq!(read(&mallory, "&q=SALES+app").await, ["sales"]);
    assert_eq!(read(&mallory, "&app=hello").await, ["hello"]);
    assert_eq!(
        read(&mallory, "&owner=alice&tag=demo&lifecycle=OnDemand").await,
        ["hello", "sales"]
    );
    for query in [
        "&app=hell",
        "&app=closed",
        "&q=closed",
        "&q=closed&tag=demo",
        "&owner=bob",
        "&tag=dem",
        "&lifecycle=Link",
    ] {
        let found = read(&mallory, query).await;
        assert!(found.is_empty(), "{query}: {found:?}");
    }
    for query in ["after=nowhere", "limit=0", "lifecycle=link", "lifecycle="] {
        assert_eq!(
            alice.get(&format!("{APPS}?{query}")).await.0,
            400,
            "{query}"
        );
    }
}

#[tokio::test]
async fn an_app_is_shared_by_its_owner_and_given_by_an_admin() {
    let store = TestStore::start().await;
    let alice = store.program("alice").await;
    put(&store, &alice, "?visibility=AllUsers", bundle("1.0.0")).await;
    let place = "/api/v1/apps/my-app-1.0.0";
    let change = async |name: &str, change: Value| {
        let program = store.program(name).await;
        store.cluster.race(3);
        let answer = object(program.send(Method::PATCH, place, Some(change)).await).await;
        store.cluster.race(0);
        answer
    };
    for (name, wanted, status, code) in [
        (
            "mallory",
            json!({ "visibility": "Private" }),
            403,
            "Forbidden",
        ),
        ("vera", json!({ "owner": "vera" }), 404, "NotFound"),
        ("alice", json!({ "owner": "mallory" }), 403, "Forbidden"),
        (
            "alice",
            json!({ "owner": "alice", "visibility": "Public" }),
            200,
            "",
        ),
        ("alice", json!({ "bundle": {} }), 400, "BadDocument"),
        ("admin", json!({ "owner": "nobody" }), 422, "NoOwner"),
        ("admin", json!({ "owner": "mallory" }), 200, ""),
        (
            "alice",
            json!({ "visibility": "Private" }),
            403,
            "Forbidden",
        ),
        ("mallory", json!({ "visibility": "Private" }), 200, ""),
        ("alice", json!({ "visibility": "Public" }), 404, "NotFound"),
    ] {
        let (found, answer) = change(name, wanted.clone()).await;
        let found = (found, answer["code"].as_str().unwrap_or_default());
        assert_eq!(found, (status, code), "{name}: {wanted}");
    }
    let spec = &store.cluster.app("my-app-1.0.0").expect("an app")["spec"];
    assert_eq!(
        (&spec["owner"], &spec["visibility"]),
        (&json!("mallory"), &json!("Private"))
    );
}

#[tokio::test]
async fn an_app_with_instances_is_not_deleted_and_names_them() {
    let store = TestStore::start().await;
    let alice = store.program("alice").await;
    put(&store, &alice, "", bundle("1.0.0")).await;
    import(&store, "My_App", "1.0.0", Visibility::Private);
    let app = AppRef {
        name: "My_App".to_owned(),
        version: "1.0.0".to_owned(),
    };
    let runs = |id: &str| {
        let mut route = Route::example(id, "mallory", Visibility::Private);
        route.app = app.clone();
        route
    };
    store.publish(vec![runs("two"), runs("one")]);
    let place = "/api/v1/apps/my-app-1.0.0";
    let (status, problem) = object(alice.send(Method::DELETE, place, None).await).await;
    assert_eq!((status, &problem["code"]), (409, &json!("AppInUse")));
    assert_eq!(problem["detail"], "the app has instances: one, two");
    store.publish(Vec::new());
    let stale = alice
        .send_if(Method::DELETE, place, None, Some("\"0\""))
        .await;
    assert_eq!(stale.status(), 412);
    let deleted = alice.send(Method::DELETE, place, None).await;
    assert_eq!(deleted.status(), 202);
    assert_eq!(store.cluster.app("my-app-1.0.0"), None);
}

#[tokio::test]
async fn an_upload_that_is_sent_again_publishes_once() {
    let store = TestStore::start().await;
    let alice = store.program("alice").await;
    let publish = async |key: &str, query: &str| {
        let mut browser = store.browser();
        let request = browser
            .request(Method::PUT, &store.store(&format!("{APPS}{query}")))
            .bearer_auth(alice.token.expose())
            .header("idempotency-key", key)
            .body(bundle("1.0.0"));
        object(browser.send(request).await).await
    };
    for _ in 0..2 {
        let (status, made) = publish("one", "").await;
        assert_eq!((status, &made["name"]), (202, &json!("my-app-1.0.0")));
    }
    // The same when it is imported, and in the table.
    import(&store, "My_App", "1.0.0", Visibility::Private);
    let (status, made) = publish("one", "").await;
    assert_eq!((status, &made["state"]), (202, &json!("Ready")));
    for (key, query, expected) in [
        ("one", "?visibility=Public", (422, "KeyReused")),
        ("two", "", (409, "AppExists")),
    ] {
        let (status, problem) = publish(key, query).await;
        let code = problem["code"].as_str().unwrap_or_default();
        assert_eq!((status, code), expected);
    }
}
