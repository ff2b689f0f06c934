//! Instances as programs make, see, change and delete them.

use std::collections::BTreeMap;

use catalog::{Scope, TokenId};
use crds::{Lifecycle, Visibility};
use reqwest::{Method, Response, header};
use serde_json::{Value, json};

use super::test_store::TestStore;
use crate::table::{Size, Snapshot};

const ALL: &str = "/api/v1/instances";
const PRIVATE: &str = "/api/v1/instances/private";

/// A program that shows a token.
pub(super) struct Program<'a> {
    store: &'a TestStore,
    pub(super) token: TokenId,
}

impl Program<'_> {
    pub(super) async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        self.send_if(method, path, body, None).await
    }

    pub(super) async fn send_if(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        if_match: Option<&str>,
    ) -> Response {
        let mut browser = self.store.browser();
        let mut request = browser
            .request(method, &self.store.store(path))
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", self.token.expose()),
            )
            .header(header::ACCEPT, "application/json");
        if let Some(tag) = if_match {
            request = request.header(header::IF_MATCH, tag);
        }
        if let Some(body) = body {
            request = request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.to_string());
        }
        browser.send(request).await
    }

    pub(super) async fn get(&self, path: &str) -> (u16, Value) {
        object(self.send(Method::GET, path, None).await).await
    }
}

impl TestStore {
    pub(super) async fn program(&self, name: &str) -> Program<'_> {
        let token = self.token(name, &[Scope::Store]).await;
        Program { store: self, token }
    }

    /// Changes the app `hello` of this version, which is made when there is none.
    async fn offer(&self, version: &str, change: impl FnOnce(&mut crate::table::AppEntry)) {
        if self.table.load().apps.is_empty() {
            self.publish_app("hello", Visibility::AllUsers).await;
        }
        let mut snapshot = Snapshot::clone(&self.table.load());
        let first = snapshot
            .apps
            .values()
            .find(|app| app.app.version == "1.0.0");
        let mut entry = first.expect("an app").as_ref().clone();
        entry.app.version = version.to_owned();
        change(&mut entry);
        snapshot.apps.insert(entry.app.clone(), entry.into());
        self.table.publish(snapshot);
    }
}

pub(super) async fn object(answer: Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    let words = answer.text().await.expect("a body");
    (status, serde_json::from_str(&words).unwrap_or_default())
}

fn hello(version: &str) -> Value {
    json!({ "name": "hello", "version": version })
}

#[tokio::test]
async fn an_instance_is_made_seen_changed_and_deleted() {
    let store = TestStore::start().await;
    store.offer("1.0.0", |_| {}).await;
    store.offer("2.0.0", |_| {}).await;
    let alice = store.program("alice").await;
    let new = json!({ "app": hello("1.0.0"), "name": "mine", "visibility": "AllUsers" });
    let answer = alice.send(Method::POST, ALL, Some(new.clone())).await;
    assert_eq!(answer.headers()[header::LOCATION], "/api/v1/instances/mine");
    let first = answer.headers()[header::ETAG].clone();
    let first = first.to_str().expect("text");
    let (status, made) = object(answer).await;
    assert_eq!(status, 201, "{made}");
    let port = store.address.port();
    assert_eq!(
        made,
        json!({
            "name": "mine", "app": hello("1.0.0"), "owner": "alice", "visibility": "AllUsers", "suspended": false,
            "state": "Waiting For The Operator", "ready": false, "failing": false,
            "url": format!("http://mine.apps.test:{port}/"), "createdAt": "2026-01-01T00:00:00Z",
        })
    );
    let (status, taken) = object(alice.send(Method::POST, ALL, Some(new)).await).await;
    assert_eq!((status, &taken["code"]), (409, &json!("InstanceNameTaken")));

    let mine = "/api/v1/instances/mine";
    let change =
        json!({ "app": { "version": "2.0.0" }, "visibility": "Public", "suspended": true });
    let answer = alice
        .send_if(Method::PATCH, mine, Some(change), Some(first))
        .await;
    let second = answer.headers()[header::ETAG].clone();
    let (status, changed) = object(answer).await;
    assert_eq!(status, 200, "{changed}");
    let spec = &store.cluster.instance("mine").expect("an instance")["spec"];
    assert_eq!(
        *spec,
        json!({ "app": hello("2.0.0"), "owner": "alice", "visibility": "Public", "suspended": true })
    );
    assert_eq!(changed["state"], "Suspended");
    assert_eq!(alice.get(mine).await, (200, changed));

    // What was meant for another state does not happen.
    let change = json!({ "suspended": false });
    let late = alice.send_if(Method::PATCH, mine, Some(change), Some(first));
    let (status, problem) = object(late.await).await;
    assert_eq!((status, &problem["code"]), (412, &json!("Changed")));
    let late = alice.send_if(Method::DELETE, mine, None, Some(first)).await;
    assert_eq!(late.status(), 412);
    assert_eq!(
        late.headers()[header::CONTENT_TYPE],
        "application/problem+json"
    );
    let tag = Some(second.to_str().expect("text"));
    let answer = alice.send_if(Method::DELETE, mine, None, tag).await;
    assert_eq!(answer.status(), 202);
    assert_eq!(store.cluster.instance("mine"), None);
    assert_eq!(alice.get(mine).await.0, 404);
}

#[tokio::test]
async fn a_change_goes_through_though_others_change_the_same_instance() {
    let store = TestStore::start().await;
    let alice = store.program("alice").await;
    store.cluster.race(3);
    let change = json!({ "suspended": true });
    let answer = alice.send(Method::PATCH, PRIVATE, Some(change)).await;
    assert_eq!(answer.status(), 200);
    store.cluster.race(3);
    let answer = alice.send(Method::DELETE, PRIVATE, None).await;
    assert_eq!(answer.status(), 202);
}

#[tokio::test]
async fn strangers_are_not_told_whether_an_instance_exists() {
    let store = TestStore::start().await;
    store.offer("2.0.0", |_| {}).await;
    let program = store.program("mallory").await;
    let change = || Some(json!({ "visibility": "Public" }));
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let mut answers = Vec::new();
        for id in ["private", "shared", "missing", "Not-A-Name"] {
            let path = format!("{ALL}/{id}");
            let body = change().filter(|_| method == Method::PATCH);
            let answer = program
                .send_if(method.clone(), &path, body, Some("\"0\""))
                .await;
            let headers: BTreeMap<String, String> = answer
                .headers()
                .iter()
                .filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()))
                .map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()))
                .collect();
            let (status, mut problem) = object(answer).await;
            problem["requestId"] = Value::Null;
            answers.push((status, headers, problem));
        }
        assert_eq!(answers[0].0, 404, "{method}");
        answers.dedup();
        assert_eq!(answers.len(), 1, "{method}: {answers:?}");
    }
    let (status, list) = program.get(ALL).await;
    assert_eq!((status, list), (200, json!({ "items": [], "next": null })));
    let spec = &store.cluster.instance("private").expect("an instance")["spec"];
    assert_eq!(spec["visibility"], "Private");
}

#[tokio::test]
async fn an_instance_has_a_size_of_those_that_its_app_may_have() {
    let store = TestStore::start().await;
    let sizes = ["small", "large"].map(|name| Size {
        name: name.to_owned(),
        description: None,
        memory: 0,
    });
    store
        .offer("1.0.0", |entry| entry.sizes = sizes.to_vec())
        .await;
    let alice = store.program("alice").await;
    let new = |size: &str| json!({ "app": hello("1.0.0"), "name": "mine", "size": size });
    let (status, answer) = object(alice.send(Method::POST, ALL, Some(new("huge"))).await).await;
    assert_eq!((status, &answer["code"]), (422, &json!("NoSize")));
    let (status, made) = object(alice.send(Method::POST, ALL, Some(new("small"))).await).await;
    assert_eq!((status, &made["size"]), (201, &json!("small")));
    let mine = "/api/v1/instances/mine";
    for (size, status, now) in [
        ("huge", 422, json!("small")),
        ("large", 200, json!("large")),
        ("", 200, Value::Null),
        ("", 200, Value::Null),
    ] {
        let change = json!({ "size": size });
        let answer = alice.send(Method::PATCH, mine, Some(change)).await;
        assert_eq!(answer.status(), status, "{size}");
        let spec = &store.cluster.instance("mine").expect("an instance")["spec"];
        assert_eq!(spec["size"], now, "{size}");
    }

    let mut alice = store.signed_in("alice").await;
    let page = alice.open(&store.store("/apps/hello/1.0.0")).await;
    let page = page.text().await.expect("a page");
    assert!(
        page.contains("<option value=\"large\">large</option>"),
        "{page}"
    );
    for (size, to) in [("large", "size-changed"), ("", "size-changed")] {
        let answer = alice.submit("/instances/mine", &[("size", size)]).await;
        let expected = format!("/instances/mine?done={to}");
        assert_eq!(answer.headers()[header::LOCATION], *expected, "{size}");
    }
    let refused = alice.submit("/instances/mine", &[("size", "huge")]).await;
    let words = refused.text().await.expect("a page");
    assert!(words.contains("There is no size `huge`"), "{words}");
    let fields = [
        ("app", "hello"),
        ("version", "1.0.0"),
        ("name", "other"),
        ("size", "large"),
    ];
    let answer = alice.submit("/instances", &fields).await;
    assert_eq!(answer.status(), 303);
    let spec = &store.cluster.instance("other").expect("an instance")["spec"];
    assert_eq!(spec["size"], "large");
}

#[tokio::test]
async fn an_admin_manages_what_is_anybodys_but_does_not_open_it() {
    let store = TestStore::start().await;
    let admin = store.program("admin").await;
    let (status, list) = admin.get(&format!("{ALL}?owner=alice")).await;
    let items = list["items"].as_array().expect("a list");
    assert_eq!((status, items.len()), (200, 6));
    for (change, expected) in [
        (json!({ "visibility": "AllUsers" }), (403, "OwnerOnly")),
        (
            json!({ "suspended": true, "visibility": "Public" }),
            (403, "OwnerOnly"),
        ),
        (
            json!({ "visibility": "Private", "suspended": true }),
            (200, ""),
        ),
    ] {
        let answer = admin
            .send(Method::PATCH, PRIVATE, Some(change.clone()))
            .await;
        let (status, answer) = object(answer).await;
        let code = answer["code"].as_str().unwrap_or_default();
        assert_eq!((status, code), expected, "{change}");
    }
    let spec = &store.cluster.instance("private").expect("an instance")["spec"];
    assert_eq!(
        (&spec["visibility"], &spec["suspended"]),
        (&json!("Private"), &json!(true))
    );
    let answer = admin.send(Method::DELETE, PRIVATE, None).await;
    assert_eq!(answer.status(), 202);
}

#[tokio::test]
async fn only_apps_that_one_may_run_are_run() {
    let store = TestStore::start().await;
    store.offer("1.0.0", |_| {}).await;
    store
        .offer("2.0.0", |app| app.visibility = Visibility::Private)
        .await;
    store
        .offer("3.0.0", |app| app.lifecycle = Lifecycle::Managed)
        .await;
    store
        .offer("4.0.0", |app| app.lifecycle = Lifecycle::Link)
        .await;
    store.offer("5.0.0", |app| app.ready = false).await;
    let route = crate::table::Route::example("own", "mallory", Visibility::Private);
    store.publish(vec![route]);
    for (name, version, expected) in [
        ("mallory", "1.0.0", (201, "")),
        ("mallory", "2.0.0", (422, "NoApp")),
        ("mallory", "3.0.0", (422, "NoApp")),
        ("mallory", "4.0.0", (422, "NoApp")),
        ("mallory", "5.0.0", (409, "AppNotReady")),
        ("mallory", "6.0.0", (422, "NoApp")),
        // See `tags`.
        ("vera", "1.0.0", (422, "NoApp")),
        ("alice", "2.0.0", (201, "")),
        ("admin", "3.0.0", (201, "")),
        ("admin", "4.0.0", (422, "NoApp")),
    ] {
        let program = store.program(name).await;
        let new = json!({ "app": hello(version) });
        let (status, answer) = object(program.send(Method::POST, ALL, Some(new)).await).await;
        let code = answer["code"].as_str().unwrap_or_default();
        assert_eq!((status, code), expected, "{version} by {name}");
        if status == 201 {
            let made = answer["name"].as_str().expect("a name");
            assert!(made.starts_with("hello-") && made.len() == 11, "{made}");
        }
        if name == "mallory" && expected.0 != 201 {
            let change = json!({ "app": { "version": version } });
            let path = format!("{ALL}/own");
            let answer = program.send(Method::PATCH, &path, Some(change)).await;
            assert_eq!(answer.status(), expected.0, "an upgrade to {version}");
        }
    }
    let spec = &store.cluster.instance("own").expect("an instance")["spec"];
    assert_eq!(spec["app"], hello("1.0.0"));
}

#[tokio::test]
async fn what_cannot_be_done_is_said_and_not_done() {
    let store = TestStore::start().await;
    store.offer("1.0.0", |_| {}).await;
    let mut snapshot = Snapshot::clone(&store.table.load());
    let mut names = crate::table::Names::default();
    let id = |name: &str| name.parse::<crate::InstanceId>().expect("a name");
    names.aliases.insert(id("crm"), id("private"));
    snapshot.names = names.into();
    store.table.publish(snapshot);
    let alice = store.program("alice").await;
    let before = store.cluster.names();
    let cases = [
        (json!({}), 400, "BadDocument"),
        (json!([hello("1.0.0"), null, "Private"]), 400, "BadRequest"),
        (json!({ "app": ["hello", "1.0.0"] }), 400, "BadRequest"),
        (json!({ "app": { "name": "hello" } }), 400, "BadDocument"),
        (
            json!({ "app": hello("1.0.0"), "owner": "mallory" }),
            400,
            "BadDocument",
        ),
        (
            json!({ "app": hello("1.0.0"), "visibility": "Everybody" }),
            400,
            "BadDocument",
        ),
        (
            json!({ "app": hello("1.0.0"), "name": "No Name" }),
            400,
            "BadInstanceName",
        ),
        (
            json!({ "app": hello("1.0.0"), "name": "apps" }),
            400,
            "BadInstanceName",
        ),
        (
            json!({ "app": hello("1.0.0"), "name": "2048" }),
            400,
            "BadInstanceName",
        ),
        (
            json!({ "app": hello("1.0.0"), "name": "crm" }),
            409,
            "InstanceNameTaken",
        ),
    ];
    for (new, status, code) in cases {
        let answer = object(alice.send(Method::POST, ALL, Some(new.clone())).await).await;
        assert_eq!(
            (answer.0, &answer.1["code"]),
            (status, &json!(code)),
            "{new}"
        );
    }
    let change = json!({ "owner": "mallory" });
    let answer = alice.send(Method::PATCH, PRIVATE, Some(change)).await;
    assert_eq!(answer.status(), 400);
    store.cluster.deny(
        "x is forbidden: ValidatingAdmissionPolicy 'a' denied request: user alice has too many",
    );
    let new = json!({ "app": hello("1.0.0") });
    let (status, problem) = object(alice.send(Method::POST, ALL, Some(new.clone())).await).await;
    assert_eq!(status, 422);
    assert_eq!(
        problem["detail"],
        "the Kubernetes API refuses it: user alice has too many"
    );
    store.cluster.refuse();
    let (status, problem) = object(alice.send(Method::POST, ALL, Some(new)).await).await;
    assert_eq!((status, &problem["code"]), (503, &json!("KubernetesAway")));
    assert!(!problem.to_string().contains("forbidden"), "{problem}");
    assert_eq!(store.cluster.names(), before);
}

#[tokio::test]
async fn a_list_is_read_piece_by_piece() {
    let store = TestStore::start().await;
    let alice = store.program("alice").await;
    let mut next = Some(format!("{ALL}?limit=4&owner=alice"));
    let mut pieces = Vec::new();
    while let Some(path) = next {
        let (status, page) = alice.get(&path).await;
        assert_eq!(status, 200, "{page}");
        let names = page["items"].as_array().expect("a list");
        let names = names
            .iter()
            .map(|item| item["name"].as_str().expect("a name").to_owned());
        pieces.push(names.collect::<Vec<_>>());
        next = page["next"].as_str().map(str::to_owned);
    }
    let expected = [
        vec!["asleep", "based", "private", "public"],
        vec!["python", "shared"],
    ];
    assert_eq!(pieces, expected);
    assert_eq!(
        alice.get(&format!("{ALL}?owner=mallory")).await.1["items"],
        json!([])
    );
    for query in ["limit=0", "limit=501", "limit=x"] {
        assert_eq!(alice.get(&format!("{ALL}?{query}")).await.0, 400, "{query}");
    }
}

#[tokio::test]
async fn a_token_needs_its_scope_and_a_session_its_own_page() {
    let store = TestStore::start().await;
    let program = Program {
        store: &store,
        token: store.token("alice", &[Scope::Instances]).await,
    };
    let (status, problem) = program.get(PRIVATE).await;
    assert_eq!(
        (status, &problem["code"]),
        (403, &json!("InsufficientScope"))
    );
    let mut alice = store.signed_in("alice").await;
    for (origin, expected) in [
        (None, 403),
        (Some("http://evil.test".to_owned()), 403),
        (Some(store.instance("shared", "")), 403),
        (Some(store.store("")), 200),
    ] {
        let mut request = alice
            .request(Method::PATCH, &store.store(PRIVATE))
            .header(header::CONTENT_TYPE, "application/json")
            .body(r#"{"suspended": true}"#);
        if let Some(origin) = &origin {
            request = request.header(header::ORIGIN, origin);
        }
        let answer = alice.send(request).await;
        assert_eq!(answer.status(), expected, "{origin:?}");
    }
}

/// What an answer's page says, and its status.
pub(super) async fn page(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    (status, answer.text().await.expect("a page"))
}

#[tokio::test]
async fn the_page_of_an_instance_is_for_those_who_manage_it() {
    let store = TestStore::start().await;
    store.change("shared", |route| {
        route.pods = vec!["crashed-1".to_owned()];
    });
    store
        .cluster
        .tell("shared", "SpecChanged", "upgraded to 1.0.0");
    store.cluster.tell("private", "Elsewhere", "of another one");
    let url = store.store("/instances/shared");
    let mut alice = store.signed_in("alice").await;
    let (status, words) = page(alice.open(&url).await).await;
    assert_eq!(status, 200);
    for part in [
        "Spec changed",
        "upgraded to 1.0.0",
        "Traceback\nKeyError",
        "Who may enter",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(!words.contains("Elsewhere"), "{words}");
    let mut admin = store.signed_in("admin").await;
    let (status, words) = page(admin.open(&url).await).await;
    assert_eq!(status, 200);
    assert!(!words.contains("KeyError"), "{words}");
    assert!(words.contains("Only alice, who owns it"), "{words}");
    let mut mallory = store.signed_in("mallory").await;
    let mut answers = Vec::new();
    for id in ["shared", "private", "missing"] {
        let (status, words) = page(
            mallory
                .open(&store.store(&format!("/instances/{id}")))
                .await,
        )
        .await;
        let (_, words) = words.split_once("<main").expect("a page");
        let words = words.split("Request").next().unwrap_or_default().to_owned();
        answers.push((status, words));
    }
    assert_eq!(answers[0].0, 404);
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn a_page_lists_the_instances_that_one_manages() {
    let store = TestStore::start().await;
    for (name, path, expected) in [
        ("alice", "/instances", true),
        ("mallory", "/instances", false),
        ("admin", "/instances", true),
        ("admin", "/instances?owner=alice", true),
        ("admin", "/instances?owner=mallory", false),
        ("admin", "/instances?after=private", false),
    ] {
        let mut browser = store.signed_in(name).await;
        let page = browser.open(&store.store(path)).await;
        assert_eq!(page.status(), 200, "{name} {path}");
        let words = page.text().await.expect("a page");
        let lists = words.contains("data-instance=\"private\"");
        assert_eq!(lists, expected, "{name} {path}: {words}");
    }
    let mut admin = store.signed_in("admin").await;
    let back = ("back", "/instances?owner=alice");
    let fields = [("suspended", "true"), back];
    let answer = admin.submit("/instances/private", &fields).await;
    assert_eq!(
        answer.headers()[header::LOCATION],
        "/instances?owner=alice&done=suspended"
    );
    for back in ["//elsewhere.example/", "https://elsewhere.example/"] {
        let fields = [("suspended", "false"), ("back", back)];
        let answer = admin.submit("/instances/private", &fields).await;
        assert_eq!(answer.headers()[header::LOCATION], "/?done=resumed");
    }
}

#[tokio::test]
async fn forms_change_and_delete_an_instance() {
    let store = TestStore::start().await;
    store.offer("1.0.0", |_| {}).await;
    store.offer("1.1.0", |_| {}).await;
    let mut alice = store.signed_in("alice").await;
    let here = "/instances/private";
    for (fields, to, (field, value)) in [
        (
            &[("suspended", "true")][..],
            "/instances/private?done=suspended",
            ("suspended", json!(true)),
        ),
        (
            &[("suspended", "false"), ("back", "/")],
            "/?done=resumed",
            ("suspended", json!(false)),
        ),
        (
            &[("visibility", "AllUsers")],
            "/instances/private?done=shared",
            ("visibility", json!("AllUsers")),
        ),
        (
            &[("version", "1.1.0")],
            "/instances/private?done=version-changed",
            ("app", hello("1.1.0")),
        ),
    ] {
        let answer = alice.submit(here, fields).await;
        assert_eq!(answer.status(), 303, "{fields:?}");
        assert_eq!(answer.headers()[header::LOCATION], to);
        let spec = &store.cluster.instance("private").expect("an instance")["spec"];
        assert_eq!(spec[field], value);
    }
    let (status, words) = page(alice.submit(here, &[("version", "9.9.9")]).await).await;
    assert_eq!(status, 422);
    assert!(
        words.contains("There is no app `hello 9.9.9` that you may run."),
        "{words}"
    );
    for fields in [
        &[][..],
        &[("visibility", "Everybody")],
        &[("suspended", "maybe")],
    ] {
        assert_eq!(alice.submit(here, fields).await.status(), 400, "{fields:?}");
    }
    let mut mallory = store.signed_in("mallory").await;
    for path in [here.to_owned(), format!("{here}/delete")] {
        let answer = mallory.submit(&path, &[("suspended", "true")]).await;
        assert_eq!(answer.status(), 404, "{path}");
    }
    let mut admin = store.signed_in("admin").await;
    let (status, words) = page(admin.submit(here, &[("visibility", "Public")]).await).await;
    assert_eq!(status, 403);
    assert!(
        words.contains("Only its owner changes who may enter"),
        "{words}"
    );
    let now = [("now", "true")];
    let answer = alice.submit(&format!("{here}/delete"), &now).await;
    assert_eq!(answer.headers()[header::LOCATION], "/?done=deleted");
    assert_eq!(store.cluster.instance("private"), None);
    let (_, words) = page(alice.open(&store.store("/?done=deleted")).await).await;
    assert!(words.contains("The instance is being deleted."), "{words}");
}

#[tokio::test]
async fn an_app_is_run_by_a_form() {
    let store = TestStore::start().await;
    store.offer("1.0.0", |_| {}).await;
    let mut mallory = store.signed_in("mallory").await;
    let (status, words) = page(mallory.open(&store.store("/apps/hello/1.0.0")).await).await;
    assert_eq!(status, 200);
    assert!(
        words.contains("<option value=\"1.0.0\" selected>"),
        "{words}"
    );
    let chosen = [
        ("app", "hello"),
        ("version", "1.0.0"),
        ("name", "mine"),
        ("visibility", "AllUsers"),
    ];
    let answer = mallory.submit("/instances", &chosen).await;
    assert_eq!(answer.status(), 303);
    assert_eq!(
        answer.headers()[header::LOCATION],
        "/instances/mine?done=made"
    );
    let spec = &store.cluster.instance("mine").expect("an instance")["spec"];
    assert_eq!(
        *spec,
        json!({ "app": hello("1.0.0"), "owner": "mallory", "visibility": "AllUsers", "suspended": false })
    );
    // It is there at once, whatever the watch has seen.
    let url = store.store("/instances/mine?done=made");
    let (status, words) = page(mallory.open(&url).await).await;
    assert_eq!(status, 200);
    assert!(words.contains("Your instance is made"), "{words}");
    // One click chooses nothing.
    let answer = mallory.submit("/instances", &chosen[..2]).await;
    let location = answer.headers()[header::LOCATION].to_str().expect("text");
    assert!(location.starts_with("/instances/hello-"), "{location}");

    let before = store.cluster.names();
    for (name, status, words) in [
        ("mine", 409, "The name `mine` is taken."),
        ("private", 409, "The name `private` is taken."),
        ("No Name", 400, "An instance&#39;s name has a-z"),
    ] {
        let mut fields = chosen;
        fields[2].1 = name;
        let answer = page(mallory.submit("/instances", &fields).await).await;
        assert_eq!(answer.0, status, "{name}");
        for part in [
            words,
            &format!("value=\"{name}\""),
            "<option value=\"AllUsers\" selected>",
        ] {
            assert!(answer.1.contains(part), "{part}: {}", answer.1);
        }
    }
    let answer = mallory
        .submit("/instances", &[("app", "hello"), ("version", "2.0.0")])
        .await;
    assert_eq!(answer.status(), 422);
    store
        .cluster
        .deny("denied request: user mallory has too many");
    let (status, words) = page(mallory.submit("/instances", &chosen[..2]).await).await;
    assert_eq!(status, 422);
    assert!(
        words.contains("refuses it: user mallory has too many."),
        "{words}"
    );
    assert_eq!(store.cluster.names(), before);
}

#[tokio::test]
async fn an_app_that_one_does_not_see_has_no_page() {
    let store = TestStore::start().await;
    store.publish_app("closed", Visibility::Private).await;
    let mut mallory = store.signed_in("mallory").await;
    for path in [
        "/apps/closed/1.0.0",
        "/apps/closed/2.0.0",
        "/apps/none/1.0.0",
    ] {
        let answer = mallory.open(&store.store(path)).await;
        assert_eq!(answer.status(), 404, "{path}");
    }
    let mut alice = store.signed_in("alice").await;
    let (status, words) = page(alice.open(&store.store("/apps/closed/1.0.0")).await).await;
    assert_eq!(status, 200);
    assert!(words.contains("The closed app"), "{words}");
}

#[tokio::test]
async fn apps_are_searched_for_on_the_first_page() {
    let store = TestStore::start().await;
    store.publish_app("sales", Visibility::AllUsers).await;
    store.publish_app("hello", Visibility::AllUsers).await;
    store.publish_app("closed", Visibility::Private).await;
    let mut mallory = store.signed_in("mallory").await;
    for (query, expected) in [
        ("", &["sales", "hello"][..]),
        ("?q=SALES+app", &["sales"]),
        ("?q=demo", &["sales", "hello"]),
        ("?q=closed", &[]),
        // Signs alone ask for nothing in particular.
        ("?q=%25", &["sales", "hello"]),
        ("?q=%25nothing", &[]),
        // As the form sends it.
        ("?q=&owner=alice&tag=demo&lifecycle=", &["sales", "hello"]),
        ("?q=hello&owner=alice&lifecycle=OnDemand", &["hello"]),
        ("?owner=bob", &[]),
        ("?lifecycle=Link", &[]),
        ("?tag=Demo", &[]),
    ] {
        let url = store.store(&format!("/{query}"));
        let (status, words) = page(mallory.open(&url).await).await;
        assert_eq!(status, 200, "{query}");
        for name in ["sales", "hello", "closed"] {
            let card = format!("href=\"/apps/{name}/1.0.0\"");
            let is_there = expected.contains(&name);
            assert_eq!(words.contains(&card), is_there, "{query}: {name}");
        }
    }
    for query in ["after=nowhere", "lifecycle=nowhere"] {
        let answer = mallory.open(&store.store(&format!("/?{query}"))).await;
        assert_eq!(answer.status(), 400, "{query}");
    }
}

#[tokio::test]
async fn a_request_that_is_sent_again_makes_nothing_twice() {
    let store = TestStore::start().await;
    store.offer("1.0.0", |_| {}).await;
    let alice = store.program("alice").await;
    let mallory = store.program("mallory").await;
    let ask = async |program: &Program<'_>, key: &str, new: Value| {
        let mut browser = store.browser();
        let request = browser
            .request(Method::POST, &store.store(ALL))
            .bearer_auth(program.token.expose())
            .header("idempotency-key", key)
            .header(header::CONTENT_TYPE, "application/json")
            .body(new.to_string());
        object(browser.send(request).await).await
    };
    let before = store.cluster.names().len();
    let unnamed = json!({ "app": hello("1.0.0") });
    let (status, first) = ask(&alice, "one", unnamed.clone()).await;
    assert_eq!(status, 201, "{first}");
    let (status, again) = ask(&alice, "one", unnamed.clone()).await;
    assert_eq!((status, &again["name"]), (201, &first["name"]));
    let (status, other) = ask(&alice, "two", unnamed.clone()).await;
    assert_eq!(status, 201);
    assert_ne!(other["name"], first["name"]);
    let (status, others) = ask(&mallory, "one", unnamed.clone()).await;
    assert_eq!(status, 201);
    assert_ne!(others["name"], first["name"]);
    assert_eq!(store.cluster.names().len(), before + 3);

    let named = json!({ "app": hello("1.0.0"), "name": "mine" });
    for _ in 0..2 {
        let (status, made) = ask(&alice, "three", named.clone()).await;
        assert_eq!((status, &made["name"]), (201, &json!("mine")));
    }
    let shared = json!({ "app": hello("1.0.0"), "name": "mine", "visibility": "Public" });
    for (program, key, new, expected) in [
        (&alice, "three", &shared, (422, "KeyReused")),
        (&alice, "four", &named, (409, "InstanceNameTaken")),
        (&mallory, "three", &named, (409, "InstanceNameTaken")),
        (&alice, "", &named, (400, "BadRequest")),
    ] {
        let (status, problem) = ask(program, key, new.clone()).await;
        let code = problem["code"].as_str().unwrap_or_default();
        assert_eq!((status, code), expected, "{key}");
    }
    let annotations = &store.cluster.instance("mine").expect("an instance")["metadata"];
    let annotations = annotations["annotations"].as_object().expect("annotations");
    assert_eq!(annotations.len(), 1);
    assert!(!format!("{annotations:?}").contains("three"));
}

#[tokio::test]
async fn an_account_asks_so_much_and_no_more() {
    let store = TestStore::start_limited(3).await;
    let alice = store.program("alice").await;
    for _ in 0..3 {
        assert_eq!(alice.get(ALL).await.0, 200);
    }
    let refused = alice.send(Method::GET, ALL, None).await;
    assert_eq!(refused.status(), 429);
    let wait = refused.headers()[header::RETRY_AFTER].clone();
    let wait: u64 = wait.to_str().expect("text").parse().expect("seconds");
    assert!((1..=20).contains(&wait), "{wait}");
    let (status, problem) = object(refused).await;
    assert_eq!((status, &problem["code"]), (429, &json!("TooManyRequests")));
    // Others, and pages, are not concerned.
    assert_eq!(store.program("mallory").await.get(ALL).await.0, 200);
    let mut browser = store.signed_in("alice").await;
    assert_eq!(browser.open(&store.store("/")).await.status(), 200);
}

#[tokio::test]
async fn what_may_be_named_is_told() {
    let store = TestStore::start().await;
    let (status, offer) = store.program("vera").await.get("/api/v1/offer").await;
    assert_eq!(status, 200, "{offer}");
    let runtime = json!({
        "name": "python3.13", "aliases": ["latest"], "deprecated": false,
        "image": "registry/instance:3.13",
    });
    assert_eq!(offer["runtimes"], json!([runtime]));
    let size = json!({
        "name": "large", "description": "For training", "requests": {},
        "limits": { "cpu": "2", "memory": "8Gi" },
    });
    assert_eq!(offer["sizes"], json!([size]));
    assert_eq!(offer["appsDomain"], "apps.test");
}
