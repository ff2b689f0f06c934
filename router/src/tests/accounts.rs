//! Accounts, their passwords and their sessions, by the pages that people have for them.

use catalog::Role;
use chrono::{TimeDelta, Utc};
use reqwest::{Response, header};

use super::browser::{Browser, location};
use super::test_store::{PASSWORD, TestStore, eventually};

const NEW_PASSWORD: &str = "battery staple 12";

/// What an answer's page says, and its status.
async fn page(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    (status, answer.text().await.expect("a page"))
}

async fn is_signed_in(store: &TestStore, browser: &mut Browser) -> bool {
    browser.open(&store.store("/")).await.status() == 200
}

/// The one-time password that an admin is shown.
fn shown_password(page: &str) -> String {
    let (_, rest) = page
        .split_once("id=\"one-time-password\">")
        .expect("a password");
    rest.split('<').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_password_is_changed_by_whoever_knows_it() {
    let store = TestStore::start().await;
    let mut browser = store.signed_in("alice").await;
    let mut other = store.signed_in("alice").await;
    for (current, new, status, words) in [
        ("wrong", NEW_PASSWORD, 401, "Name or password is wrong."),
        (
            PASSWORD,
            "short",
            400,
            "The new password has 5 characters; it needs at least 12.",
        ),
        (PASSWORD, "this is Alice!", 400, "contains your name"),
        (PASSWORD, PASSWORD, 400, "is the one that you have"),
    ] {
        let fields = [("current", current), ("new", new)];
        let answer = page(browser.submit("/account/password", &fields).await).await;
        assert_eq!(answer.0, status, "{new}: {}", answer.1);
        assert!(answer.1.contains(words), "{new}: {}", answer.1);
        assert!(
            !answer.1.contains(&format!("value=\"{new}")),
            "{}",
            answer.1
        );
    }
    let fields = [("current", PASSWORD), ("new", NEW_PASSWORD)];
    let answer = browser.submit("/account/password", &fields).await;
    assert_eq!(answer.status(), 303);
    let next = location(&answer).expect("a redirect");
    let (status, words) = page(browser.open(&next).await).await;
    assert_eq!(status, 200);
    assert!(words.contains("Your password is changed."), "{words}");
    eventually("the other session ends", async || {
        !is_signed_in(&store, &mut other).await
    })
    .await;
    assert!(is_signed_in(&store, &mut browser).await);
    let answer = store.browser().sign_in("alice", PASSWORD).await;
    assert_eq!(answer.status(), 401);
    let answer = store.browser().sign_in("alice", NEW_PASSWORD).await;
    assert_eq!(answer.status(), 303);
}

#[tokio::test]
async fn guesses_at_the_password_of_a_stolen_session_are_limited() {
    let store = TestStore::start().await;
    let mut thief = store.signed_in("alice").await;
    let mut last = 0;
    for _ in 0..12 {
        let fields = [("current", "a guess at it"), ("new", NEW_PASSWORD)];
        let answer = thief.submit("/account/password", &fields).await;
        last = answer.status().as_u16();
    }
    assert_eq!(last, 429);
}

#[tokio::test]
async fn sessions_are_listed_and_ended_by_their_owner_alone() {
    let store = TestStore::start().await;
    let mut here = store.signed_in("alice").await;
    let mut there = store.signed_in("alice").await;
    let mut mallory = store.signed_in("mallory").await;
    let (status, words) = page(here.open(&store.store("/account")).await).await;
    assert_eq!(status, 200);
    assert_eq!(words.matches("action=\"/account/sessions/end\"").count(), 1);
    assert_eq!(words.matches("This browser").count(), 1);
    let (_, key) = words
        .split_once("name=\"session\" value=\"")
        .expect("a session");
    let key = key.split('"').next().unwrap_or_default().to_owned();

    let fields = [("session", key.as_str())];
    let answer = mallory.submit("/account/sessions/end", &fields).await;
    assert_eq!(answer.status(), 303, "says nothing of whose it is");
    assert!(is_signed_in(&store, &mut there).await);
    let answer = here
        .submit("/account/sessions/end", &[("session", "x")])
        .await;
    assert_eq!(answer.status(), 400);
    let answer = here.submit("/account/sessions/end", &fields).await;
    assert_eq!(answer.status(), 303);
    eventually("the session ends", async || {
        !is_signed_in(&store, &mut there).await
    })
    .await;

    let mut there = store.signed_in("alice").await;
    let answer = here.submit("/account/sessions/end-others", &[]).await;
    assert_eq!(answer.status(), 303);
    eventually("the others end", async || {
        !is_signed_in(&store, &mut there).await
    })
    .await;
    assert!(is_signed_in(&store, &mut here).await);
    assert!(is_signed_in(&store, &mut mallory).await);
}

#[tokio::test]
async fn an_admin_makes_an_account_and_its_owner_takes_it_over() {
    let store = TestStore::start().await;
    let mut admin = store.signed_in("admin").await;
    for (name, role, status, words) in [
        ("alice", "Full", 409, "belongs to somebody else"),
        ("Alice", "Full", 409, "belongs to somebody else"),
        ("<b>", "Full", 400, "An account&#39;s name has letters"),
        ("", "Full", 400, "An account&#39;s name has letters"),
        ("carol", "Root", 400, "there is no role"),
    ] {
        let fields = [("name", name), ("role", role)];
        let answer = page(admin.submit("/accounts", &fields).await).await;
        assert_eq!(answer.0, status, "{name}: {}", answer.1);
        assert!(
            answer.1.to_lowercase().contains(&words.to_lowercase()),
            "{name}: {}",
            answer.1
        );
    }
    let fields = [("name", "carol"), ("role", "Visitor")];
    let answer = admin.submit("/accounts", &fields).await;
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
    let (status, words) = page(answer).await;
    assert_eq!(status, 200);
    let once = shown_password(&words);
    let mut carol = store.browser();
    assert_eq!(carol.sign_in("carol", &once).await.status(), 303);
    let (_, words) = page(carol.open(&store.store("/account")).await).await;
    assert!(words.contains("was given to you by an admin"), "{words}");
    assert_eq!(carol.open(&store.store("/accounts")).await.status(), 403);
    let fields = [("current", once.as_str()), ("new", NEW_PASSWORD)];
    let answer = carol.submit("/account/password", &fields).await;
    assert_eq!(answer.status(), 303);
    let account = store.catalog.account("carol").await.expect("an answer");
    let account = account.expect("an account");
    assert_eq!(account.role, Role::Visitor);
    assert_eq!(account.password_expires_at, None);
}

#[tokio::test]
async fn a_one_time_password_ends() {
    let store = TestStore::start().await;
    let account = store.catalog.account("alice").await.expect("an answer");
    let hash = account.and_then(|account| account.password_hash);
    let ended = Utc::now() - TimeDelta::seconds(1);
    store
        .catalog
        .set_password_hash("alice", &hash.expect("a hash"), Some(ended), None)
        .await
        .expect("an answer");
    let mut browser = store.browser();
    let (status, words) = page(browser.sign_in("alice", PASSWORD).await).await;
    assert_eq!(status, 403);
    assert!(words.contains("is not good any more"), "{words}");
    // Whoever guesses learns nothing of it.
    let answer = browser.sign_in("alice", "a guess at it").await;
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn what_an_admin_changes_is_in_force_at_once() {
    let store = TestStore::start().await;
    let mut admin = store.signed_in("admin").await;
    let mut alice = store.signed_in("alice").await;
    let private = store.instance("private", "/");
    assert_eq!(alice.visit(&private).await.status(), 200);

    let answer = admin
        .submit("/accounts/role", &[("name", "alice"), ("role", "Admin")])
        .await;
    assert_eq!(answer.status(), 303);
    let accounts = store.store("/accounts");
    eventually("alice is an admin", async || {
        alice.open(&accounts).await.status() == 200
    })
    .await;
    admin
        .submit("/accounts/role", &[("name", "alice"), ("role", "Full")])
        .await;
    eventually("alice is none any more", async || {
        alice.open(&accounts).await.status() == 403
    })
    .await;

    let answer = admin
        .submit("/accounts/disable", &[("name", "alice")])
        .await;
    assert_eq!(answer.status(), 303);
    eventually("alice is out", async || {
        alice.open(&private).await.status() == 302
    })
    .await;
    let answer = store.browser().sign_in("alice", PASSWORD).await;
    assert_eq!(answer.status(), 401);
    admin.submit("/accounts/enable", &[("name", "alice")]).await;
    let mut alice = store.signed_in("alice").await;

    let answer = admin
        .submit("/accounts/reset-password", &[("name", "alice")])
        .await;
    let once = shown_password(&page(answer).await.1);
    eventually("the session ends", async || {
        !is_signed_in(&store, &mut alice).await
    })
    .await;
    assert_eq!(store.browser().sign_in("alice", &once).await.status(), 303);

    for (path, name, status) in [
        ("/accounts/disable", "nobody", 404),
        ("/accounts/reset-password", "nobody", 404),
        ("/accounts/disable", "admin", 409),
    ] {
        let answer = admin.submit(path, &[("name", name)]).await;
        assert_eq!(answer.status(), status, "{path} {name}");
    }
    let fields = [("name", "admin"), ("role", "Full")];
    let (status, words) = page(admin.submit("/accounts/role", &fields).await).await;
    assert_eq!(status, 409);
    assert!(
        words.contains("is the only admin who can sign in"),
        "{words}"
    );
}

#[tokio::test]
async fn tokens_are_made_shown_once_and_revoked() {
    let store = TestStore::start().await;
    let mut alice = store.signed_in("alice").await;
    let good = [("name", "nightly"), ("scope", "instances"), ("days", "30")];
    for (fields, words) in [
        ([("name", " "), good[1], good[2]], "needs a name"),
        (
            [good[0], ("scope", "everything"), good[2]],
            "what the token is good for",
        ),
        (
            [good[0], good[1], ("days", "100000")],
            "how long the token is good",
        ),
    ] {
        let (status, page) = page(alice.submit("/account/tokens", &fields).await).await;
        assert_eq!(status, 400);
        assert!(page.contains(words), "{words}: {page}");
    }
    let answer = alice.submit("/account/tokens", &good).await;
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
    let (status, words) = page(answer).await;
    assert_eq!(status, 200);
    let (_, secret) = words.split_once("id=\"new-token\">").expect("a token");
    let secret = secret.split('<').next().unwrap_or_default();
    assert!(secret.starts_with("wst_"), "{words}");
    let (status, _) = page(alice.submit("/account/tokens", &good).await).await;
    assert_eq!(status, 409);
    let (_, words) = page(alice.open(&store.store("/account")).await).await;
    assert!(
        words.contains("nightly") && !words.contains(secret),
        "{words}"
    );
    let (_, key) = words.split_once("name=\"token\" value=\"").expect("a key");
    let key = key.split('"').next().unwrap_or_default();

    let mut mallory = store.signed_in("mallory").await;
    mallory
        .submit("/account/tokens/revoke", &[("token", key)])
        .await;
    let tokens = async || store.catalog.tokens_of("alice").await.expect("an answer");
    assert_eq!(tokens().await.len(), 1, "it is not hers to revoke");
    let answer = alice
        .submit("/account/tokens/revoke", &[("token", key)])
        .await;
    assert_eq!(answer.status(), 303);
    assert!(tokens().await.is_empty());
}
