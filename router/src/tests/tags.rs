//! Tags, what roles see and do by them, and who puts them on apps.

use catalog::{Person, Role, Subject};
use chrono::Utc;
use crds::Visibility;
use reqwest::{Method, header};
use serde_json::{Value, json};

use super::instances::{Program, object};
use super::publishing::{bundle_with, put};
use super::test_store::{TestStore, eventually};
use crate::table::Snapshot;

const TAGS: &str = "/api/v1/tags";
const APPS: &str = "/api/v1/apps";

/// An account of somebody whom a provider gives these roles.
async fn sign_up(store: &TestStore, name: &str, role: Role, roles: &[&str]) {
    let person = Person {
        subject: Subject {
            issuer: "https://login.example.com".to_owned(),
            subject: name.to_owned(),
        },
        name: name.to_owned(),
        role,
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        as_of: Utc::now(),
    };
    store.catalog.account_of(&person).await.expect("an account");
}

async fn set(admin: &Program<'_>, name: &str, tag: Value) {
    let path = format!("{TAGS}/{name}");
    let (status, answer) = object(admin.send(Method::PUT, &path, Some(tag)).await).await;
    assert!([200, 201].contains(&status), "{name}: {status} {answer}");
}

/// The names of the apps in the list.
async fn listed(program: &Program<'_>) -> Vec<String> {
    let (status, page) = program.get(APPS).await;
    assert_eq!(status, 200, "{page}");
    let items = page["items"].as_array().expect("a list").iter();
    let names = items.map(|item| item["app"]["name"].as_str().expect("a name").to_owned());
    names.collect()
}

#[tokio::test]
async fn a_tag_is_made_seen_changed_and_deleted() {
    let store = TestStore::start().await;
    let (admin, alice) = (store.program("admin").await, store.program("alice").await);
    let place = "/api/v1/tags/sales";
    let wanted = json!({
        "title": "Sales <b>", "color": "#0B5CAD", "description": "What sells",
        "adminRoles": ["lead"], "visitorRoles": ["guest", "guest"],
    });
    let made = admin.send(Method::PUT, place, Some(wanted.clone())).await;
    assert_eq!(made.status(), 201);
    assert_eq!(made.headers()[header::LOCATION], place);
    let first = made.headers()[header::ETAG]
        .to_str()
        .expect("text")
        .to_owned();
    let tag = json!({
        "name": "sales", "title": "Sales <b>", "color": "#0b5cad", "description": "What sells",
        "adminRoles": ["lead"], "visitorRoles": ["guest"],
    });
    assert_eq!(object(made).await.1, tag);
    assert_eq!(alice.get(place).await, (200, tag.clone()));
    let all = json!({ "items": [tag], "next": null });
    assert_eq!(alice.get(TAGS).await, (200, all));
    set(&admin, "Other", json!({})).await;
    let (_, page) = alice.get(&format!("{TAGS}?limit=1")).await;
    assert_eq!(page["items"][0]["name"], "Other");
    let next = page["next"].as_str().expect("more");
    let (_, page) = alice.get(next).await;
    assert_eq!(
        (&page["items"][0]["name"], &page["next"]),
        (&json!("sales"), &Value::Null)
    );

    let change = json!({ "title": "Sales" });
    for (program, tag, status, code) in [
        (&alice, None, 403, "Forbidden"),
        (&admin, Some("\"0\""), 412, "Changed"),
        (&admin, Some(&*first), 200, ""),
        (&admin, Some(&*first), 412, "Changed"),
    ] {
        let answer = program.send_if(Method::PUT, place, Some(change.clone()), tag);
        let (found, answer) = object(answer.await).await;
        let code_found = answer["code"].as_str().unwrap_or_default();
        assert_eq!((found, code_found), (status, code), "{tag:?}");
    }
    // What is not named is not kept: a PUT says all.
    assert_eq!(alice.get(place).await.1["adminRoles"], json!([]));
    for (name, wanted, code) in [
        ("sales", json!({ "color": "red" }), "BadTag"),
        ("sales", json!({ "title": "a\nb" }), "BadTag"),
        ("sales", json!({ "visitorRoles": [""] }), "BadTag"),
        ("sales", json!({ "visitorRoles": [1] }), "BadDocument"),
        ("sales", json!({ "colour": "#ffffff" }), "BadDocument"),
        ("sales", json!(["Sales"]), "BadRequest"),
        ("a%20b", json!({}), "BadTag"),
    ] {
        let path = format!("{TAGS}/{name}");
        let answer = admin.send(Method::PUT, &path, Some(wanted.clone())).await;
        let (status, answer) = object(answer).await;
        assert_eq!((status, &answer["code"]), (400, &json!(code)), "{wanted}");
    }
    assert_eq!(alice.send(Method::DELETE, place, None).await.status(), 403);
    let stale = admin
        .send_if(Method::DELETE, place, None, Some(&first))
        .await;
    assert_eq!(stale.status(), 412);
    assert_eq!(admin.send(Method::DELETE, place, None).await.status(), 204);
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(admin.send(method, place, None).await.status(), 404);
    }
}

#[tokio::test]
async fn visitors_see_and_run_what_is_tagged_for_a_role_of_theirs() {
    let store = TestStore::start().await;
    for (name, visibility) in [
        ("sales", Visibility::AllUsers),
        ("closed", Visibility::Private),
        ("open", Visibility::Public),
    ] {
        store.publish_app(name, visibility).await;
    }
    sign_up(&store, "gil", Role::Visitor, &["guest"]).await;
    let admin = store.program("admin").await;
    let (vera, gil) = (store.program("vera").await, store.program("gil").await);
    let runs = async |program: &Program<'_>, app: &str| {
        let new = json!({ "app": { "name": app, "version": "1.0.0" } });
        let answer = program.send(Method::POST, "/api/v1/instances", Some(new));
        answer.await.status().as_u16()
    };
    // No tag is known: an app's word means nothing.
    for visitor in [&vera, &gil] {
        assert_eq!(listed(visitor).await, ["open"]);
        assert_eq!(runs(visitor, "sales").await, 422);
        assert_eq!(runs(visitor, "open").await, 201);
    }
    set(&admin, "demo", json!({ "visitorRoles": ["guest"] })).await;
    assert_eq!(listed(&vera).await, ["open"]);
    assert_eq!(listed(&gil).await, ["open", "sales"]);
    assert_eq!(
        (runs(&vera, "sales").await, runs(&gil, "sales").await),
        (422, 201)
    );
    assert_eq!(runs(&gil, "closed").await, 422);
    let (_, found) = gil.get(&format!("{APPS}?tag=demo&q=sales")).await;
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
    let (_, found) = vera.get(&format!("{APPS}?tag=demo&q=sales")).await;
    assert_eq!(found["items"], json!([]));
    // Every visitor has a role, whatever the provider says.
    set(&admin, "demo", json!({ "visitorRoles": ["store:visitor"] })).await;
    for visitor in [&vera, &gil] {
        assert_eq!(listed(visitor).await, ["open", "sales"]);
    }
    let mut browser = store.signed_in("vera").await;
    let page = browser.open(&store.store("/apps/sales/1.0.0")).await;
    assert_eq!(page.status(), 200);
    assert_eq!(vera.get(TAGS).await.0, 403);
    // Another replica has seen none of this, and follows.
    let replica = store.replica().await;
    let mut snapshot = Snapshot::clone(&replica.table.load());
    snapshot.apps.clone_from(&store.table.load().apps);
    replica.table.publish(snapshot);
    let mut there = replica.signed_in("vera").await;
    let url = replica.store("/apps/sales/1.0.0");
    assert_eq!(there.open(&url).await.status(), 200);
    let deleted = admin.send(Method::DELETE, "/api/v1/tags/demo", None);
    assert_eq!(deleted.await.status(), 204);
    assert_eq!(listed(&vera).await, ["open"]);
    eventually("the tag to be unknown elsewhere", async || {
        there.open(&url).await.status() == 404
    })
    .await;
}

#[tokio::test]
async fn an_app_with_a_tag_is_managed_by_the_roles_of_the_tag() {
    let store = TestStore::start().await;
    let (admin, alice) = (store.program("admin").await, store.program("alice").await);
    sign_up(&store, "lena", Role::Full, &["lead"]).await;
    let lena = store.program("lena").await;
    put(&store, &alice, "", bundle_with("1.0.0", &["own"])).await;
    let imported = json!({ "conditions": [], "tags": ["own"] });
    store.cluster.set_app_status("my-app-1.0.0", imported);
    let place = "/api/v1/apps/my-app-1.0.0";
    set(&admin, "sales", json!({ "adminRoles": ["lead"] })).await;
    let change = async |program: &Program<'_>, tags: Value| {
        let change = json!({ "tags": tags });
        store.cluster.race(3);
        let answer = program.send(Method::PATCH, place, Some(change)).await;
        store.cluster.race(0);
        let (status, answer) = object(answer).await;
        let code = answer["code"].as_str().unwrap_or_default().to_owned();
        (status, code, answer["tags"].clone())
    };
    let refused = |status, code: &str| (status, code.to_owned(), Value::Null);
    assert_eq!(change(&lena, json!(["a"])).await, refused(404, "NotFound"));
    assert_eq!(
        change(&alice, json!(["a", "sales"])).await,
        refused(403, "TagForbidden")
    );
    let on = |tags: Value| (200, String::new(), tags);
    assert_eq!(
        change(&alice, json!(["a", "b", "a"])).await,
        on(json!(["own", "a", "b"]))
    );
    assert_eq!(
        change(&alice, json!([""])).await,
        refused(400, "BadRequest")
    );
    assert_eq!(
        change(&admin, json!(["a", "sales"])).await,
        on(json!(["own", "a", "sales"]))
    );
    // Now she sees and manages it, though it is private, and gives it to nobody.
    assert_eq!(lena.get(place).await.0, 200);
    let give = lena.send(Method::PATCH, place, Some(json!({ "owner": "lena" })));
    assert_eq!(give.await.status(), 403);
    assert_eq!(
        change(&alice, json!(["a"])).await,
        refused(403, "TagForbidden")
    );
    // What stays may be named by everybody who manages the app.
    assert_eq!(
        change(&alice, json!(["own", "sales"])).await,
        on(json!(["own", "sales"]))
    );
    let share = lena.send(
        Method::PATCH,
        place,
        Some(json!({ "visibility": "Public" })),
    );
    assert_eq!(share.await.status(), 200);
    assert_eq!(change(&lena, json!([])).await, on(json!(["own"])));
    assert_eq!(change(&lena, json!(["x"])).await, refused(403, "Forbidden"));

    // Nor does a bundle bring a tag that its publisher may not put on apps.
    let brought = put(&store, &alice, "", bundle_with("2.0.0", &["sales"])).await;
    let (status, problem) = object(brought).await;
    assert_eq!((status, &problem["code"]), (403, &json!("TagForbidden")));
    assert_eq!(store.cluster.app("my-app-2.0.0"), None);
    let brought = put(&store, &lena, "", bundle_with("2.0.0", &["sales"])).await;
    assert_eq!(brought.status(), 202);
}

/// The state of the first tag that the page shows.
fn shown_state(page: &str) -> String {
    let (_, state) = page.split_once("name=\"state\" value=\"").expect("a state");
    state.split('"').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn admins_set_tags_on_their_page() {
    let store = TestStore::start().await;
    store.publish_app("hello", Visibility::AllUsers).await;
    let mut admin = store.signed_in("admin").await;
    let fields = [
        ("name", "demo"),
        ("title", "For show"),
        ("color", "#0b5cad"),
        ("description", "What is shown"),
        ("visitor_roles", " guest \r\n\r\nother\r\n"),
        ("admin_roles", ""),
    ];
    let answer = admin.submit("/tags", &fields).await;
    assert_eq!(answer.status(), 303);
    assert_eq!(answer.headers()[header::LOCATION], "/tags?done=tag-set");
    let tag = store
        .catalog
        .tag("demo")
        .await
        .expect("read")
        .expect("a tag");
    assert_eq!(tag.visitor_roles, ["guest", "other"]);
    // Twice: what is there is not made again.
    let answer = admin.submit("/tags", &fields).await;
    assert_eq!(answer.status(), 409);
    let words = answer.text().await.expect("a page");
    assert!(words.contains("There is a tag `demo` already."), "{words}");
    let state = shown_state(&words);
    let with = |title: &'static str, state: String| {
        let fields = [("name", "demo"), ("title", title), ("color", "#ffffff")];
        let mut fields: Vec<(&str, String)> = fields
            .map(|(name, value)| (name, value.to_owned()))
            .to_vec();
        fields.push(("state", state));
        fields
    };
    for (title, expected) in [("Shown", 303), ("Late", 412)] {
        let fields = with(title, state.clone());
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        let answer = admin.submit("/tags", &fields).await;
        assert_eq!(answer.status(), expected, "{title}");
    }
    let page = admin.open(&store.store("/?tag=demo")).await;
    let words = page.text().await.expect("a page");
    assert!(
        words.contains("fill=\"#ffffff\"") && words.contains(">Shown</a>"),
        "{words}"
    );
    let before = [("name", "demo"), ("state", &*state)];
    assert_eq!(admin.submit("/tags/delete", &before).await.status(), 412);
    let page = admin.open(&store.store("/tags")).await;
    let now = shown_state(&page.text().await.expect("a page"));
    let known = [("name", "demo"), ("state", &*now)];
    let answer = admin.submit("/tags/delete", &known).await;
    assert_eq!(answer.headers()[header::LOCATION], "/tags?done=tag-deleted");
    assert_eq!(store.catalog.tag("demo").await.expect("read"), None);
}
