//! Aliases: other names and hosts of instances.

use std::sync::Arc;

use crds::Visibility;
use futures::{SinkExt, StreamExt};
use reqwest::Method;
use tokio_tungstenite::tungstenite::Message;

use super::browser::location;
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
