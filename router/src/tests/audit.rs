//! The audit trail: what gets into it, who reads it, and what happens when it cannot be written.

use catalog::AuditQuery;
use reqwest::Method;
use serde_json::{Value, json};

use super::instances::object;
use super::test_store::{PASSWORD, TestStore};

const AUDIT: &str = "/api/v1/audit";

/// Who did what to what, the latest first.
pub(super) async fn trail(store: &TestStore) -> Vec<String> {
    let entries = store.catalog.audit(&AuditQuery::default(), 100).await;
    let deeds = entries.expect("read").into_iter().map(|entry| entry.deed);
    deeds
        .map(|deed| {
            format!(
                "{} {} {}: {}",
                deed.account, deed.thing, deed.name, deed.done
            )
        })
        .collect()
}

#[tokio::test]
async fn what_people_do_is_kept_and_no_secret_is_in_it() {
    let store = TestStore::start().await;
    let (admin, alice) = (store.program("admin").await, store.program("alice").await);
    let tag = json!({ "title": "Sales" });
    let alias = json!({ "instance": "private" });
    for (program, method, path, body) in [
        (&admin, Method::PUT, "/api/v1/tags/sales", Some(tag)),
        (&admin, Method::DELETE, "/api/v1/tags/sales", None),
        (&admin, Method::PUT, "/api/v1/aliases/crm", Some(alias)),
        (
            &alice,
            Method::PATCH,
            "/api/v1/instances/private",
            Some(json!({ "suspended": true })),
        ),
        // Nothing changes by these.
        (
            &alice,
            Method::PATCH,
            "/api/v1/instances/private",
            Some(json!({})),
        ),
        (&alice, Method::GET, "/api/v1/instances/private", None),
        (&alice, Method::DELETE, "/api/v1/instances/shared", None),
    ] {
        let answer = program.send(method.clone(), path, body).await;
        assert!(answer.status().is_success(), "{method} {path}: {answer:?}");
    }
    for (program, path, expected) in [
        (&alice, "/api/v1/instances/none", 404),
        (&alice, "/api/v1/aliases/crm", 403),
    ] {
        let answer = program.send(Method::DELETE, path, None).await;
        assert_eq!(answer.status(), expected, "{path}");
    }
    let mut browser = store.signed_in("admin").await;
    for (path, fields) in [
        ("/accounts", &[("name", "new"), ("role", "Visitor")][..]),
        ("/accounts/role", &[("name", "vera"), ("role", "Full")]),
        ("/accounts/reset-password", &[("name", "vera")]),
        ("/accounts/disable", &[("name", "vera")]),
        ("/accounts/enable", &[("name", "vera")]),
        ("/accounts/enable", &[("name", "nobody")]),
        (
            "/account/tokens",
            &[("name", "laptop"), ("scope", "store"), ("days", "7")],
        ),
        (
            "/account/password",
            &[
                ("current", PASSWORD),
                ("new", "a battery and a staple"),
                ("again", "a battery and a staple"),
            ],
        ),
    ] {
        browser.submit(path, fields).await;
    }
    let kept = trail(&store).await;
    assert_eq!(
        kept,
        [
            "admin account admin: chose a new password",
            "admin account admin: made the token \"laptop\"",
            "admin account vera: let the account vera sign in again",
            "admin account vera: disabled the account vera",
            "admin account vera: gave the account vera a one-time password",
            "admin account vera: gave the account vera the role Full",
            "admin account new: made the account new: Visitor",
            "admin account admin: signed in",
            "alice instance shared: deleted the instance shared",
            "alice instance private: changed the instance private: {\"suspended\":true}",
            "admin alias crm: made the alias crm, which leads to private",
            "admin tag sales: deleted the tag sales",
            "admin tag sales: set the tag sales: {\"adminRoles\":[],\"color\":null,\"description\":\"\",\"title\":\"Sales\",\"visitorRoles\":[]}",
        ]
    );
    for secret in [PASSWORD, "battery", "wst_"] {
        assert!(!kept.join("\n").contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn admins_read_the_trail_and_nobody_else() {
    let store = TestStore::start().await;
    let (admin, alice) = (store.program("admin").await, store.program("alice").await);
    for suspended in [true, false, true] {
        let change = json!({ "suspended": suspended });
        let path = "/api/v1/instances/private";
        let answer = alice.send(Method::PATCH, path, Some(change)).await;
        assert_eq!(answer.status(), 200);
    }
    let mut places = Vec::new();
    let mut next = format!("{AUDIT}?limit=2&thing=instance&name=private&account=alice");
    loop {
        let (status, page) = admin.get(&next).await;
        assert_eq!(status, 200, "{page}");
        for deed in page["items"].as_array().expect("a list") {
            assert_eq!(deed["account"], "alice");
            assert_eq!(deed["thing"], "instance");
            assert!(deed["at"].as_str().expect("text").starts_with("20"));
            places.push(deed["done"].as_str().expect("text").to_owned());
        }
        match page["next"].as_str() {
            Some(rest) => next = rest.to_owned(),
            None => break,
        }
    }
    assert_eq!(places.len(), 3, "{places:?}");
    let (_, none) = admin.get(&format!("{AUDIT}?name=other")).await;
    assert_eq!(none, json!({ "items": [], "next": null }));
    for query in ["thing=cat", "after=x", "limit=0"] {
        let (status, answer) = admin.get(&format!("{AUDIT}?{query}")).await;
        assert_eq!(
            (status, &answer["code"]),
            (400, &json!("BadRequest")),
            "{query}"
        );
    }
    let (status, answer) = object(alice.send(Method::GET, AUDIT, None).await).await;
    assert_eq!((status, &answer["code"]), (403, &json!("Forbidden")));

    let mut browser = store.signed_in("admin").await;
    let page = browser.open(&store.store("/audit?thing=instance")).await;
    let words = page.text().await.expect("a page");
    let suspended = "changed the instance private: {&#34;suspended&#34;:true}";
    assert_eq!(words.matches(suspended).count(), 2, "{words}");
    let mut browser = store.signed_in("alice").await;
    let page = browser.open(&store.store("/audit")).await;
    assert_eq!(page.status(), 403);
    let home = browser.open(&store.store("/")).await;
    assert!(!home.text().await.expect("a page").contains("/audit"));
}

#[tokio::test]
async fn what_is_done_while_the_database_is_away_is_done_all_the_same() {
    let store = TestStore::start().await;
    let alice = store.program("alice").await;
    let path = "/api/v1/instances/private";
    assert_eq!(alice.get(path).await.0, 200);
    store.catalog.close().await;
    let change = json!({ "suspended": true });
    let (status, answer) = object(alice.send(Method::PATCH, path, Some(change)).await).await;
    assert_eq!(
        (status, &answer["suspended"]),
        (200, &Value::Bool(true)),
        "{answer}"
    );
}
