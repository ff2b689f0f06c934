//! Secrets of apps: set, seen without their values, replaced and deleted, by those who may.

use catalog::{Person, Role, Subject};
use chrono::Utc;
use crds::Visibility;
use reqwest::{Method, header};
use serde_json::{Value, json};

use super::instances::{Program, object};
use super::test_store::{TestStore, eventually};
use crate::table::{AppEntry, Snapshot};

const SECRETS: &str = "/api/v1/secrets";

/// Sets a secret; the status and the answer, or its problem's code.
async fn set(program: &Program<'_>, name: &str, wanted: &Value) -> (u16, Value) {
    let path = format!("{SECRETS}/{name}");
    let answer = program.send(Method::PUT, &path, Some(wanted.clone())).await;
    let (status, answer) = object(answer).await;
    let said = if status < 300 {
        answer
    } else {
        answer["code"].clone()
    };
    (status, said)
}

async fn delete(program: &Program<'_>, name: &str) -> (u16, Value) {
    let path = format!("{SECRETS}/{name}");
    let (status, answer) = object(program.send(Method::DELETE, &path, None).await).await;
    (status, answer["code"].clone())
}

async fn names(program: &Program<'_>) -> Vec<String> {
    let (status, page) = program.get(SECRETS).await;
    assert_eq!(status, 200, "{page}");
    let items = page["items"].as_array().expect("a list").iter();
    let names = items.map(|item| item["name"].as_str().expect("a name").to_owned());
    names.collect()
}

/// An app is there, which reads these secrets.
fn reads(store: &TestStore, name: &str, version: &str, change: impl FnOnce(&mut AppEntry)) {
    let mut entry = AppEntry {
        owner: "alice".to_owned(),
        visibility: Visibility::Private,
        ..AppEntry::example(name, version)
    };
    change(&mut entry);
    let mut snapshot = Snapshot::clone(&store.table.load());
    snapshot.apps.insert(entry.app.clone(), entry.into());
    store.table.publish(snapshot);
}

#[tokio::test]
async fn a_secret_is_set_seen_without_its_values_replaced_and_deleted() {
    let store = TestStore::start().await;
    let alice = store.program("alice").await;
    let place = "/api/v1/secrets/database";
    let wanted = json!({ "stringData": { "password": "hunter2" }, "data": { "key": "AAEC" } });
    let made = alice.send(Method::PUT, place, Some(wanted)).await;
    assert_eq!(made.status(), 201);
    assert_eq!(made.headers()[header::LOCATION], place);
    let first = made.headers()[header::ETAG].clone();
    let first = first.to_str().expect("text");
    let told = json!({
        "name": "database", "scope": "Private", "owner": "alice", "keys": ["key", "password"],
        "usedBy": [], "readOnly": false, "setAt": "2026-01-01T00:00:00Z",
    });
    assert_eq!(object(made).await.1, told);
    assert_eq!(alice.get(place).await, (200, told.clone()));
    let all = json!({ "items": [told], "next": null });
    assert_eq!(alice.get(SECRETS).await, (200, all));
    // What is in Kubernetes says whose it is, to everybody who looks there.
    let secret = store.cluster.secret("database").expect("a Secret");
    assert_eq!(
        (
            &secret["metadata"]["labels"],
            &secret["metadata"]["annotations"],
            &secret["data"]
        ),
        (
            &json!({ "wavestore.io/app-secret": "private" }),
            &json!({ "wavestore.io/owner": "alice" }),
            &json!({ "key": "AAEC", "password": "aHVudGVyMg==" }),
        )
    );

    let other = json!({ "scope": "App", "app": "hello", "stringData": { "token": "x" } });
    for (tag, expected) in [("\"0\"", 412), (first, 200), (first, 412)] {
        let answer = alice.send_if(Method::PUT, place, Some(other.clone()), Some(tag));
        assert_eq!(answer.await.status(), expected, "{tag}");
    }
    let secret = store.cluster.secret("database").expect("a Secret");
    assert_eq!(secret["data"], json!({ "token": "eA==" }));
    assert_eq!(
        secret["metadata"]["annotations"]["wavestore.io/app"],
        "hello"
    );
    let (_, told) = alice.get(place).await;
    assert_eq!(
        (&told["app"], &told["keys"]),
        (&json!("hello"), &json!(["token"]))
    );

    reads(&store, "hello", "1.0.0", |app| {
        app.secrets = vec!["database".to_owned()];
    });
    assert_eq!(alice.get(place).await.1["usedBy"][0]["version"], "1.0.0");
    let (status, problem) = object(alice.send(Method::DELETE, place, None).await).await;
    assert_eq!(status, 409);
    assert_eq!(problem["detail"], "apps read the secret: hello 1.0.0");
    reads(&store, "hello", "1.0.0", |_| {});
    let late = alice
        .send_if(Method::DELETE, place, None, Some(first))
        .await;
    assert_eq!(late.status(), 412);
    assert_eq!(delete(&alice, "database").await.0, 204);
    assert_eq!(store.cluster.secret("database"), None);
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(alice.send(method, place, None).await.status(), 404);
    }
}

#[tokio::test]
async fn no_answer_repeats_a_value() {
    let store = TestStore::start().await;
    let alice = store.program("alice").await;
    let cases = [
        (json!({ "stringData": "hunter2" }), 400, "UnreadableSecret"),
        (
            json!({ "stringData": { "a": ["hunter2"] } }),
            400,
            "UnreadableSecret",
        ),
        (
            json!({ "stringData": { "a/b": "hunter2" } }),
            400,
            "BadSecret",
        ),
        (json!({ "data": { "a": "hunter2" } }), 400, "BadSecret"),
        (json!({ "scope": "hunter2" }), 400, "UnreadableSecret"),
        (json!({ "hunter2": 1 }), 400, "UnreadableSecret"),
        (json!(["hunter2"]), 400, "UnreadableSecret"),
        (
            json!({ "scope": "App", "stringData": { "a": "hunter2" } }),
            422,
            "SecretScopeUnclear",
        ),
        (
            json!({ "owner": "bob", "stringData": { "a": "hunter2" } }),
            403,
            "Forbidden",
        ),
    ];
    for (wanted, status, code) in cases {
        let path = format!("{SECRETS}/x");
        let answer = alice.send(Method::PUT, &path, Some(wanted.clone())).await;
        assert_eq!(answer.status(), status, "{wanted}");
        let words = answer.text().await.expect("a body");
        assert!(words.contains(code), "{wanted}: {words}");
        assert!(!words.contains("hunter2"), "{wanted}: {words}");
    }
    let large = json!({ "stringData": { "a": "x".repeat(1024 * 1024) } });
    assert_eq!(set(&alice, "x", &large).await, (413, json!("TooLarge")));
    let fits = json!({ "stringData": { "a": "x".repeat(1000 * 1024) } });
    assert_eq!(set(&alice, "x", &fits).await.0, 201);
    assert_eq!(
        set(&alice, "A", &json!({})).await,
        (400, json!("BadSecret"))
    );
}

#[tokio::test]
async fn secrets_are_for_their_owners_and_those_for_all_apps_for_admins() {
    let store = TestStore::start().await;
    let (alice, mallory) = (store.program("alice").await, store.program("mallory").await);
    let (admin, vera) = (store.program("admin").await, store.program("vera").await);
    let private = json!({ "stringData": { "a": "x" } });
    let open = json!({ "scope": "AllUsers", "stringData": { "a": "x" } });
    assert_eq!(
        set(&vera, "hers", &private).await,
        (403, json!("Forbidden"))
    );
    assert_eq!(set(&alice, "hers", &private).await.0, 201);
    assert_eq!(set(&alice, "open", &open).await, (403, json!("Forbidden")));
    assert_eq!(set(&admin, "open", &open).await.0, 201);
    // It cannot be closed, or opened, by who may not have it so afterwards, or before.
    assert_eq!(
        set(&alice, "open", &private).await,
        (403, json!("Forbidden"))
    );
    assert_eq!(set(&alice, "hers", &open).await, (403, json!("Forbidden")));
    assert_eq!(delete(&alice, "open").await, (403, json!("Forbidden")));
    // Names are everybody's, so that a name is taken is not hidden; all else is.
    assert_eq!(
        set(&mallory, "hers", &private).await,
        (409, json!("SecretNameTaken"))
    );
    assert_eq!(mallory.get("/api/v1/secrets/hers").await.0, 404);
    assert_eq!(delete(&mallory, "hers").await, (404, json!("NotFound")));
    assert_eq!(names(&mallory).await, ["open"]);
    assert_eq!(names(&alice).await, ["hers", "open"]);
    assert_eq!(vera.get(SECRETS).await.0, 403);
    // An admin manages what is alice's, and it stays hers.
    assert_eq!(names(&admin).await, ["hers", "open"]);
    let (status, told) = set(&admin, "hers", &private).await;
    assert_eq!((status, &told["owner"]), (200, &json!("alice")));
    let theirs = json!({ "owner": "mallory", "stringData": { "a": "x" } });
    assert_eq!(set(&admin, "theirs", &theirs).await.0, 201);
    assert_eq!(names(&mallory).await, ["open", "theirs"]);
    let nobodys = json!({ "owner": "nobody", "stringData": { "a": "x" } });
    assert_eq!(
        set(&admin, "nobodys", &nobodys).await,
        (422, json!("NoOwner"))
    );
    let (_, page) = admin.get(&format!("{SECRETS}?limit=2")).await;
    let next = page["next"].as_str().expect("more");
    assert_eq!(admin.get(next).await.1["items"][0]["name"], "theirs");
}

#[tokio::test]
async fn what_kubectl_keeps_is_listed_and_not_changed() {
    let store = TestStore::start().await;
    let (alice, admin) = (store.program("alice").await, store.program("admin").await);
    let open = json!({ "wavestore.io/app-secret": "true" });
    let (wanted, none) = (json!({ "stringData": { "a": "x" } }), json!({}));
    store.cluster.make_secret("index", &open, &none);
    store.cluster.make_secret("closed", &none, &none);
    eventually("the Secret to be told of", async || {
        names(&alice).await == ["index"]
    })
    .await;
    let (_, told) = alice.get("/api/v1/secrets/index").await;
    assert_eq!(
        (&told["readOnly"], &told["owner"]),
        (&json!(true), &Value::Null)
    );
    let for_all = json!({ "scope": "AllUsers", "stringData": { "a": "x" } });
    assert_eq!(
        set(&admin, "index", &for_all).await,
        (409, json!("ForeignSecret"))
    );
    assert_eq!(delete(&admin, "index").await, (409, json!("ForeignSecret")));
    // Of what is not open to apps nothing is told but that the name is taken.
    for program in [&alice, &admin] {
        assert_eq!(program.get("/api/v1/secrets/closed").await.0, 404);
        assert_eq!(
            set(program, "closed", &wanted).await,
            (409, json!("SecretNameTaken"))
        );
    }
    let secret = store.cluster.secret("closed").expect("a Secret");
    assert_eq!(secret["data"], json!({ "key": "aHVudGVyMg==" }));
    store.cluster.deny("the policy's words");
    let path = format!("{SECRETS}/new");
    let refused = alice.send(Method::PUT, &path, Some(wanted)).await;
    let (status, problem) = object(refused).await;
    assert_eq!(
        (status, &problem["code"]),
        (422, &json!("KubernetesRefused"))
    );
}

#[tokio::test]
async fn who_manages_every_version_of_an_app_manages_its_secrets() {
    let store = TestStore::start().await;
    let person = Person {
        subject: Subject {
            issuer: "https://login.example.com".to_owned(),
            subject: "lena".to_owned(),
        },
        name: "lena".to_owned(),
        role: Role::Full,
        roles: vec!["lead".to_owned()],
        as_of: Utc::now(),
    };
    store.catalog.account_of(&person).await.expect("an account");
    let (alice, lena) = (store.program("alice").await, store.program("lena").await);
    let admin = store.program("admin").await;
    let lead = Some(json!({ "adminRoles": ["lead"] }));
    let made = admin.send(Method::PUT, "/api/v1/tags/sales", lead).await;
    assert_eq!(made.status(), 201);
    let wanted = json!({ "scope": "App", "app": "hello", "stringData": { "a": "x" } });
    assert_eq!(set(&alice, "of-hello", &wanted).await.0, 201);
    let tagged = |app: &mut AppEntry| app.tags = vec!["sales".to_owned()];
    assert_eq!(names(&lena).await, [""; 0]);
    reads(&store, "hello", "1.0.0", tagged);
    let (status, told) = set(&lena, "of-hello", &wanted).await;
    assert_eq!((status, &told["owner"]), (200, &json!("alice")));
    // Another version reads it that she does not manage.
    reads(&store, "hello", "2.0.0", |_| {});
    assert_eq!(names(&lena).await, [""; 0]);
    assert_eq!(
        set(&lena, "of-hello", &wanted).await,
        (409, json!("SecretNameTaken"))
    );
    // One of her own opens nothing to what is alice's, and hers to no other.
    assert_eq!(set(&lena, "of-lena", &wanted).await.0, 201);
    assert_eq!(names(&alice).await, ["of-hello"]);
}

#[tokio::test]
async fn a_change_that_others_come_before_is_decided_anew() {
    let store = TestStore::start().await;
    let alice = store.program("alice").await;
    let wanted = json!({ "stringData": { "a": "x" } });
    assert_eq!(set(&alice, "mine", &wanted).await.0, 201);
    store.cluster.race(2);
    assert_eq!(set(&alice, "mine", &wanted).await.0, 200);
    store.cluster.race(2);
    assert_eq!(delete(&alice, "mine").await.0, 204);
}

/// The state of the first secret that the page shows.
fn shown_state(page: &str) -> String {
    let (_, state) = page.split_once("name=\"state\" value=\"").expect("a state");
    state.split('"').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn publishers_set_secrets_on_their_page() {
    let store = TestStore::start().await;
    let mut alice = store.signed_in("alice").await;
    let fields = [
        ("name", "database"),
        ("scope", "App"),
        ("app", "hello"),
        ("key", "user"),
        ("value", "bob"),
        ("key", "unused"),
        ("value", ""),
        ("key", "pem"),
        ("value", "a\r\nb\r\n"),
    ];
    let answer = alice.submit("/secrets", &fields).await;
    assert_eq!(answer.status(), 303);
    assert_eq!(
        answer.headers()[header::LOCATION],
        "/secrets?done=secret-set"
    );
    let secret = store.cluster.secret("database").expect("a Secret");
    assert_eq!(secret["data"], json!({ "pem": "YQpiCg==", "user": "Ym9i" }));
    // Twice: what is there is not made again, and no value is on the page that says so.
    let answer = alice.submit("/secrets", &fields).await;
    assert_eq!(answer.status(), 409);
    let words = answer.text().await.expect("a page");
    assert!(
        words.contains("There is a secret `database` already."),
        "{words}"
    );
    assert!(words.contains("value=\"unused\"") && !words.contains("value=\"bob\""));
    let state = shown_state(&words);
    let replaced = [
        ("name", "database"),
        ("scope", "Private"),
        ("state", &*state),
        ("key", "user"),
        ("value", "carol"),
    ];
    assert_eq!(alice.submit("/secrets", &replaced).await.status(), 303);
    let secret = store.cluster.secret("database").expect("a Secret");
    assert_eq!(secret["data"], json!({ "user": "Y2Fyb2w=" }));
    assert_eq!(alice.submit("/secrets", &replaced).await.status(), 412);
    let page = alice.open(&store.store("/secrets")).await;
    let now = shown_state(&page.text().await.expect("a page"));
    let known = [("name", "database"), ("state", &*now)];
    let answer = alice.submit("/secrets/delete", &known).await;
    assert_eq!(
        answer.headers()[header::LOCATION],
        "/secrets?done=secret-deleted"
    );
    assert_eq!(store.cluster.secret("database"), None);
}
