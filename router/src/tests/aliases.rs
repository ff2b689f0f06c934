//! Aliases: other names and hosts of instances.

use std::sync::Arc;

use crds::Visibility;
use futures::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::browser::location;
use super::instances::{Program, object};
use super::test_store::TestStore;
use crate::table::{Names, Primary, Snapshot};

impl TestStore {
    /// Puts these aliases in force: name, instance and host. The first of `primary` is the primary one of its instance.
    fn alias(&self, aliases: &[(&str, &str, Option<&str>)], primary: Option<(&str, &str)>) {
        let id = |name: &str| name.parse::<crate::InstanceId>().expect("a name");
        let mut names = Names::default();
        for (alias, instance, host) in aliases {
            names.aliases.insert(id(alias), id(instance));
            if let Some(host) = host {
                names.hosts.insert((*host).to_owned(), id(alias));
            }
        }
        if let Some((instance, alias)) = primary {
            let host = aliases.iter().find(|(name, ..)| *name == alias);
            let host = host.and_then(|(_, _, host)| host.map(str::to_owned));
            self.change(instance, |route| {
                route.primary = Some(Arc::new(Primary {
                    name: id(alias),
                    host,
                }));
            });
        }
        let snapshot = Snapshot::clone(&self.table.load());
        let names = Arc::new(names);
        self.table.publish(Snapshot { names, ..snapshot });
    }

    fn own(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.address.port())
    }
}

#[tokio::test]
async fn an_alias_leads_to_its_instance_and_to_its_authorization() {
    let store = TestStore::start().await;
    store.alias(&[("crm", "private", None), ("empty", "gone", None)], None);
    let mut alice = store.signed_in("alice").await;
    let page = alice.visit(&store.instance("crm", "/a?b=c")).await;
    assert_eq!(page.url().host_str(), Some("crm.apps.test"));
    assert_eq!(page.text().await.expect("a page"), "the app at /a?b=c");
    let empty = alice.visit(&store.instance("empty", "/")).await;
    assert_eq!(empty.status(), 404, "no instance");
    let mut mallory = store.signed_in("mallory").await;
    for name in ["crm", "empty", "nothing"] {
        let answer = mallory.visit(&store.instance(name, "/")).await;
        assert_eq!(answer.status(), 404, "{name}");
        let nobody = store.browser().open(&store.instance(name, "/")).await;
        assert_eq!(nobody.status(), 302, "{name}");
    }
    // The cookie of one name is worth nothing at another, of the same instance, too.
    let stolen = alice.cookies("crm.apps.test").clone();
    let mut thief = store.browser();
    *thief.cookies("private.apps.test") = stolen;
    let answer = thief.open(&store.instance("private", "/")).await;
    assert_eq!(answer.status(), 302);
}

#[tokio::test]
async fn visits_by_other_names_are_sent_to_the_primary_one() {
    let store = TestStore::start().await;
    let aliases = [("crm", "public", None), ("old", "public", None)];
    store.alias(&aliases, Some(("public", "crm")));
    let mut browser = store.browser();
    for name in ["public", "old"] {
        let answer = browser
            .open(&store.instance(name, "/a//b?c=%20d&e=//f"))
            .await;
        assert_eq!(answer.status(), 302, "{name}");
        assert_eq!(
            location(&answer),
            Some(store.instance("crm", "/a//b?c=%20d&e=//f"))
        );
    }
    let answer = browser.open(&store.instance("crm", "/a")).await;
    assert_eq!(answer.status(), 200);
    // What changes something, what a page asks for and sockets are served where they are.
    let post = browser
        .request(Method::POST, &store.instance("public", "/form"))
        .header("content-type", "text/plain")
        .body("x");
    assert_eq!(browser.send(post).await.status(), 200);
    let picture = browser
        .request(Method::GET, &store.instance("public", "/x.png"))
        .header("sec-fetch-site", "same-origin")
        .header("sec-fetch-mode", "no-cors");
    assert_eq!(browser.send(picture).await.status(), 200);
    let socket = browser
        .socket(&store.instance("public", "/socket"), &[])
        .await;
    let mut socket = socket.expect("a socket");
    socket.send(Message::text("x")).await.expect("a send");
    let answer = socket.next().await.expect("an answer");
    assert_eq!(answer.expect("an answer"), Message::text("x"));
}

#[tokio::test]
async fn strangers_are_not_told_the_primary_name() {
    let store = TestStore::start().await;
    store.alias(&[("crm", "private", None)], Some(("private", "crm")));
    let mut mallory = store.signed_in("mallory").await;
    let answer = mallory.visit(&store.instance("private", "/")).await;
    assert_eq!(answer.status(), 404);
    let answer = store.browser().open(&store.instance("private", "/")).await;
    let location = location(&answer).expect("a redirect");
    assert!(!location.contains("crm"), "{location}");
}

#[tokio::test]
async fn an_alias_of_an_app_in_base_url_mode_is_its_path() {
    let store = TestStore::start().await;
    store.alias(&[("crm", "based", None)], Some(("based", "crm")));
    let mut alice = store.signed_in("alice").await;
    let page = alice
        .visit(&store.instance("apps", "/instance/based/cookies?x=1"))
        .await;
    let url = store.instance("apps", "/instance/crm/cookies?x=1");
    assert_eq!(page.url().as_str(), url);
    // The app knows itself by its instance's name, the browser by the alias.
    let cookies = page.headers().get_all("set-cookie").iter();
    let paths: Vec<_> = cookies.map(|line| line.to_str().expect("text")).collect();
    assert!(
        paths
            .iter()
            .all(|line| line.contains("Path=/instance/crm/")),
        "{paths:?}"
    );
    let words = page.text().await.expect("a page");
    assert_eq!(words, "the app at /instance/based/cookies?x=1");
    let slashless = alice
        .open(&store.instance("apps", "/instance/crm?a=b"))
        .await;
    assert_eq!(
        location(&slashless),
        Some(store.instance("apps", "/instance/crm/?a=b"))
    );
}

#[tokio::test]
async fn a_host_of_its_own_has_its_own_session() {
    let store = TestStore::start().await;
    store.alias(
        &[("crm", "private", Some("crm.test"))],
        Some(("private", "crm")),
    );
    let mut alice = store.signed_in("alice").await;
    let page = alice.visit(&store.instance("private", "/a?b")).await;
    assert_eq!(page.url().as_str(), store.own("crm.test", "/a?b"));
    assert_eq!(page.text().await.expect("a page"), "the app at /a?b");
    let own = alice.cookies("crm.test").clone();
    assert_eq!(own.keys().collect::<Vec<_>>(), ["wavestore"]);
    let mut mallory = store.signed_in("mallory").await;
    let answer = mallory.visit(&store.own("crm.test", "/")).await;
    assert_eq!(answer.status(), 404);
    // Hosts that no alias has get no ticket.
    let nonce = "A".repeat(43);
    let url = |host: &str| store.store(&format!("/visit?host={host}&path=/&nonce={nonce}"));
    assert_eq!(alice.open(&url("crm.test")).await.status(), 302);
    assert_eq!(alice.open(&url("evil.test")).await.status(), 400);
    assert_eq!(alice.open(&store.own("evil.test", "/")).await.status(), 404);
    // The sign-in's form may lead there, and to no other host.
    let policy = async |host: &str| {
        let mut browser = store.browser();
        let page = browser.visit(&store.own(host, "/")).await;
        let policy = page.headers()["content-security-policy"].to_str();
        policy.expect("text").to_owned()
    };
    let origin = store.own("crm.test", "");
    assert!(
        policy("crm.test")
            .await
            .contains(&format!("form-action 'self' {origin} "))
    );
    assert!(!policy("private.apps.test").await.contains("crm.test"));
    // With its alias the host goes.
    store.alias(&[], None);
    assert_eq!(alice.open(&store.own("crm.test", "/")).await.status(), 404);
}

#[tokio::test]
async fn on_its_own_host_an_app_in_base_url_mode_lives_below_its_path() {
    let store = TestStore::start().await;
    store.alias(&[("crm", "based", Some("crm.test"))], None);
    store.change("based", |route| route.visibility = Visibility::Public);
    store.alias(&[("crm", "based", Some("crm.test"))], None);
    let mut browser = store.browser();
    let page = browser.visit(&store.own("crm.test", "/a?b")).await;
    assert_eq!(
        page.url().as_str(),
        store.own("crm.test", "/instance/crm/a?b")
    );
    let words = page.text().await.expect("a page");
    assert_eq!(words, "the app at /instance/based/a?b");
}

const ALIASES: &str = "/api/v1/aliases";

#[tokio::test]
async fn an_admin_sets_aliases_and_who_manages_the_instance_sees_them() {
    let store = TestStore::start().await;
    let (admin, alice) = (store.program("admin").await, store.program("alice").await);
    let crm = format!("{ALIASES}/crm");
    let wanted = |instance: &str| Some(json!({ "instance": instance, "primary": true }));
    let answer = admin.send(Method::PUT, &crm, wanted("private")).await;
    let place = answer.headers().get(reqwest::header::LOCATION).cloned();
    let (status, made) = object(answer).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(place.expect("a place"), *crm);
    let spec = store.cluster.alias("crm").expect("an alias")["spec"].clone();
    assert_eq!(spec, json!({ "instance": "private", "primary": true }));
    assert_eq!(made["ready"], json!(false), "nobody has said so yet");

    // A host that it was given stays.
    let spec = json!({ "instance": "private", "primary": true, "host": "crm.example.com" });
    store.cluster.make_alias("hosted", &spec);
    store.cluster.race(3);
    let hosted = format!("{ALIASES}/hosted");
    let answer = admin.send(Method::PUT, &hosted, wanted("public")).await;
    let (status, changed) = object(answer).await;
    assert_eq!(
        (status, &changed["instance"], &changed["host"]),
        (200, &json!("public"), &json!("crm.example.com"))
    );
    let stale = admin
        .send_if(Method::PUT, &hosted, wanted("private"), Some("\"0\""))
        .await;
    assert_eq!(stale.status(), 412);

    let names = async |program: &Program<'_>| {
        let mut next = Some(format!("{ALIASES}?limit=1"));
        let mut names = Vec::new();
        while let Some(path) = next {
            let (status, page) = program.get(&path).await;
            assert_eq!(status, 200, "{page}");
            let items = page["items"].as_array().expect("a list").iter();
            names.extend(items.map(|item| item["name"].clone()));
            next = page["next"].as_str().map(str::to_owned);
        }
        names
    };
    let mallory = store.program("mallory").await;
    assert_eq!(names(&admin).await, ["crm", "hosted"]);
    assert_eq!(names(&alice).await, ["crm", "hosted"]);
    assert!(names(&mallory).await.is_empty());
    assert_eq!(alice.get(&crm).await.0, 200);
    assert_eq!(mallory.get(&crm).await.0, 404);

    for (program, name, instance, expected) in [
        (&alice, "own", "private", (403, "Forbidden")),
        (&admin, "own", "missing", (422, "NoInstance")),
        (&admin, "own", "../private", (422, "NoInstance")),
        (&admin, "shared", "private", (409, "InstanceNameTaken")),
        (&admin, "No-Name", "private", (400, "BadInstanceName")),
        (&admin, "apps", "private", (400, "BadInstanceName")),
    ] {
        let path = format!("{ALIASES}/{name}");
        let answer = program.send(Method::PUT, &path, wanted(instance)).await;
        let (status, problem) = object(answer).await;
        let code = problem["code"].as_str().unwrap_or_default();
        assert_eq!((status, code), expected, "{name}");
    }
    let with_host = json!({ "instance": "private", "host": "evil.example.com" });
    let answer = admin.send(Method::PUT, &crm, Some(with_host)).await;
    assert_eq!(answer.status(), 400);

    assert_eq!(alice.send(Method::DELETE, &crm, None).await.status(), 403);
    assert_eq!(admin.send(Method::DELETE, &crm, None).await.status(), 202);
    assert_eq!(store.cluster.alias("crm"), None);
}

#[tokio::test]
async fn an_instances_page_lists_its_aliases() {
    let store = TestStore::start().await;
    let aliases = [
        ("crm", "private", None),
        ("old", "private", None),
        ("x", "public", None),
    ];
    store.alias(&aliases, Some(("private", "crm")));
    let mut alice = store.signed_in("alice").await;
    let page = alice.open(&store.store("/instances/private")).await;
    let page = page.text().await.expect("a page");
    let (_, listed) = page.split_once("Other names").expect("a list");
    let (listed, _) = listed.split_once("</section>").expect("its end");
    let places: Vec<&str> = listed.split("<a href=\"").skip(1).collect();
    for (place, name) in places.iter().zip(["crm", "old"]) {
        let address = store.instance(name, "/");
        assert!(
            place.starts_with(&format!("{address}\">{name}</a>")),
            "{place}"
        );
    }
    assert_eq!(places.len(), 2, "{listed}");
    assert_eq!(listed.matches("The primary name").count(), 1);
}
