//! Programs that show a personal token: what it opens, what it does not, and what takes it away again.

use catalog::{AccountChange, NewToken, Role, Scope, TokenId};
use futures::StreamExt;
use reqwest::{Method, Response};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;

use super::browser::Browser;
use super::test_store::{DEADLINE, TestStore, eventually};
use crate::bearer::Bearers;
use crate::error::Error;

const INVALID: &str = r#"Bearer realm="wavestore", error="invalid_token""#;

/// Asks with this line as `Authorization`.
async fn ask(browser: &mut Browser, method: Method, url: &str, line: &str) -> Response {
    let request = browser.request(method, url);
    browser.send(request.header("authorization", line)).await
}

async fn status(program: &mut Browser, url: &str, token: &TokenId) -> u16 {
    let line = format!("Bearer {}", token.expose());
    let answer = ask(program, Method::GET, url, &line).await;
    answer.status().as_u16()
}

async fn socket(store: &TestStore, id: &str, token: &TokenId) -> WebSocketStream<TcpStream> {
    let line = format!("Bearer {}", token.expose());
    let url = store.instance(id, "/socket");
    let browser = store.browser();
    let socket = browser.socket(&url, &[("authorization", &line)]).await;
    socket.expect("a socket")
}

/// Waits until the other side has ended the socket, within the time that an end may take to count everywhere.
async fn ended(socket: &mut WebSocketStream<TcpStream>) {
    let start = Instant::now();
    let end = async { while let Some(Ok(_)) = socket.next().await {} };
    timeout(DEADLINE, end).await.expect("the socket ends");
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_token_opens_what_its_account_may_enter_and_never_reaches_the_app() {
    let store = TestStore::start().await;
    let mut program = store.browser();
    let alice = store.token("alice", &[Scope::Instances]).await;
    let mallory = store.token("mallory", &[Scope::Instances]).await;
    for (id, token, expected) in [
        ("private", &alice, 200),
        ("shared", &alice, 200),
        ("private", &mallory, 404),
        ("missing", &mallory, 404),
        ("shared", &mallory, 200),
    ] {
        let found = status(&mut program, &store.instance(id, "/"), token).await;
        assert_eq!(found, expected, "{id}");
    }
    let url = store.instance("apps", "/instance/based/");
    assert_eq!(status(&mut program, &url, &alice).await, 200);
    assert_eq!(status(&mut program, &url, &mallory).await, 404);

    // No page can make a browser send a token, so where the request comes from does not matter.
    let url = store.instance("private", "/upload");
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let request = program
            .request(Method::POST, &url)
            .header("authorization", format!("{scheme} {}", alice.expose()))
            .header("origin", "https://elsewhere.example")
            .body("a body");
        let answer = program.send(request).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text().await.expect("a body"), "6");
    }
    drop(socket(&store, "private", &alice).await);

    let seen = store.app.take_seen();
    assert_eq!(seen.len(), 8);
    for secret in [alice.expose(), mallory.expose()] {
        let shown = format!("{seen:?}");
        assert!(!shown.contains(&secret), "{shown}");
    }
    for seen in seen {
        assert!(!seen.headers.contains_key("authorization"), "{seen:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_in_force_gets_one_answer_whatever_it_is_shown_to() {
    let store = TestStore::start().await;
    let mut program = store.browser();
    let now = chrono::Utc::now();
    let good = store.token("alice", &[Scope::Instances]).await;
    let revoked = store.token("alice", &[Scope::Instances]).await;
    let answer = store.catalog.revoke_token("alice", &revoked.key()).await;
    assert!(answer.expect("a change"));
    let expired = NewToken {
        id: TokenId::random().expect("random bytes"),
        account: "alice".to_owned(),
        name: "expired".to_owned(),
        scopes: [Scope::Instances].into(),
        created_at: now - chrono::TimeDelta::days(2),
        expires_at: now - chrono::TimeDelta::days(1),
    };
    store.catalog.create_token(&expired).await.expect("a token");
    let session = store.signed_in("alice").await.cookies("store.test")["wavestore"].clone();
    let good = good.expose();
    let cases = [
        ("unknown", TokenId::random().expect("random bytes").expose()),
        ("revoked", revoked.expose()),
        ("expired", expired.id.expose()),
        ("nothing", String::new()),
        ("no token", "alice".to_owned()),
        ("cut short", good[..46].to_owned()),
        ("two in one", format!("{good} {good}")),
        ("without its prefix", good[4..].to_owned()),
        ("a session", session),
        ("an unsigned JWT", "eyJhbGciOiJub25lIn0.e30.".to_owned()),
    ];
    for (name, token) in cases {
        let line = format!("Bearer {token}");
        // Few enough for one address, which runs out of attempts.
        for (id, accept) in [
            ("private", "text/html"),
            ("missing", "text/html"),
            ("shared", "*/*"),
            ("missing", "*/*"),
        ] {
            let request = program
                .request(Method::GET, &store.instance(id, "/"))
                .header("accept", accept)
                .header("authorization", &line);
            let answer = program.send(request).await;
            assert_eq!(answer.status(), 401, "{name}, {id}");
            assert_eq!(answer.headers()["www-authenticate"], INVALID, "{name}");
            assert!(!answer.headers().contains_key("set-cookie"), "{name}");
        }
        let url = store.instance("private", "/socket");
        let refused = program.socket(&url, &[("authorization", &line)]).await;
        assert_eq!(refused.err(), Some(401), "{name}");
    }
    assert!(store.app.take_seen().is_empty());
}

#[tokio::test]
async fn a_token_for_something_else_is_refused_as_that() {
    let store = TestStore::start().await;
    let mut program = store.browser();
    let token = store.token("alice", &[Scope::Store]).await;
    let line = format!("Bearer {}", token.expose());
    for id in ["private", "missing"] {
        let url = store.instance(id, "/");
        let answer = ask(&mut program, Method::GET, &url, &line).await;
        assert_eq!(answer.status(), 403);
        assert_eq!(
            answer.headers()["www-authenticate"],
            r#"Bearer realm="wavestore", error="insufficient_scope", scope="instances""#
        );
        assert_eq!(answer.headers()["x-wavestore-error"], "InsufficientScope");
    }
    let answer = ask(
        &mut program,
        Method::GET,
        &store.instance("private", "/"),
        "Digest x",
    )
    .await;
    let challenges: Vec<_> = answer
        .headers()
        .get_all("www-authenticate")
        .iter()
        .collect();
    assert_eq!(
        challenges,
        [r#"Cookie realm="wavestore""#, r#"Bearer realm="wavestore""#]
    );
    assert!(store.app.take_seen().is_empty());
}

#[tokio::test]
async fn a_token_and_a_cookie_are_never_mixed() {
    let store = TestStore::start().await;
    let mut alice = store.signed_in("alice").await;
    let url = store.instance("private", "/");
    assert_eq!(alice.visit(&url).await.status(), 200);
    store.app.take_seen();
    let mallory = store.token("mallory", &[Scope::Instances]).await;
    let mallory = format!("Bearer {}", mallory.expose());
    for (line, expected) in [
        (mallory.as_str(), 404),
        ("Bearer wrong", 401),
        ("Bearer", 401),
    ] {
        let answer = ask(&mut alice, Method::GET, &url, line).await;
        assert_eq!(answer.status(), expected, "{line}");
        let url = store.instance("private", "/socket");
        let refused = alice.socket(&url, &[("authorization", line)]).await;
        assert_eq!(refused.err(), Some(expected), "{line}");
    }
    let request = alice
        .request(Method::GET, &url)
        .header("authorization", &mallory)
        .header("authorization", &mallory);
    assert_eq!(alice.send(request).await.status(), 401, "two tokens");
    assert!(store.app.take_seen().is_empty());
    assert_eq!(alice.open(&url).await.status(), 200, "the cookie alone");
    // What is no token is the app's business no more than before.
    let answer = ask(&mut alice, Method::GET, &url, "Basic YTpi").await;
    assert_eq!(answer.status(), 200);
    assert!(
        !store.app.take_seen()[1]
            .headers
            .contains_key("authorization")
    );
}

#[tokio::test]
async fn a_token_in_an_address_or_a_body_is_not_read() {
    let store = TestStore::start().await;
    let mut program = store.browser();
    let token = store.token("alice", &[Scope::Instances]).await.expose();
    for name in ["access_token", "token", "authorization"] {
        let url = store.instance("private", &format!("/?{name}={token}"));
        let answer = program.send(program.request(Method::GET, &url)).await;
        assert_eq!(answer.status(), 401, "{name}");
    }
    let request = program
        .request(Method::POST, &store.instance("private", "/"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("access_token={token}"));
    assert_eq!(program.send(request).await.status(), 401);
    assert!(store.app.take_seen().is_empty());
}

#[tokio::test]
async fn a_public_instance_asks_for_no_token() {
    let store = TestStore::start().await;
    let mut program = store.browser();
    store.catalog.close().await;
    let url = store.instance("public", "/");
    let answer = ask(&mut program, Method::GET, &url, "Bearer the-apps-own").await;
    assert_eq!(answer.status(), 200);
    let seen = store.app.take_seen();
    assert!(!seen[0].headers.contains_key("authorization"), "{seen:?}");
}

#[tokio::test]
async fn what_takes_a_token_away_counts_on_every_replica_and_for_open_sockets() {
    let first = TestStore::start().await;
    let second = first.replica().await;
    let mut programs = [first.browser(), second.browser()];
    let stores = [&first, &second];
    let catalog = &first.catalog;
    let cases = ["revoked", "disabled", "a password given", "another role"];
    for case in cases {
        let alice = first.token("alice", &[Scope::Instances]).await;
        let kept = first.token("admin", &[Scope::Instances]).await;
        let mut sockets = Vec::new();
        let mut others = Vec::new();
        for (store, program) in stores.iter().zip(&mut programs) {
            let url = store.instance("shared", "/");
            assert_eq!(status(program, &url, &alice).await, 200, "{case}");
            sockets.push(socket(store, "shared", &alice).await);
            others.push(socket(store, "shared", &kept).await);
        }
        let start = Instant::now();
        let changed = match case {
            "revoked" => catalog.revoke_token("alice", &alice.key()).await,
            "disabled" => {
                catalog
                    .change_account("alice", AccountChange::disabled(true), None)
                    .await
            }
            "a password given" => {
                let given = catalog.set_password_hash("alice", "hash", None, None);
                given.await
            }
            _ => {
                catalog
                    .change_account("alice", AccountChange::role(Role::Visitor), None)
                    .await
            }
        };
        assert!(changed.expect("a change"), "{case}");
        for socket in &mut sockets {
            ended(socket).await;
        }
        for (store, program) in stores.iter().zip(&mut programs) {
            let url = store.instance("shared", "/");
            // With another role the token goes on, and the next socket has that role.
            let expected = if case == "another role" { 200 } else { 401 };
            eventually(case, async || {
                status(program, &url, &alice).await == expected
            })
            .await;
            assert!(
                start.elapsed().as_secs() < 5,
                "{case}: {:?}",
                start.elapsed()
            );
            eventually("its socket is gone", async || store.tunnels.count() == 1).await;
        }
        drop(others);
        for store in stores {
            eventually("all sockets are gone", async || store.tunnels.count() == 0).await;
        }
        let changed = catalog
            .change_account("alice", AccountChange::disabled(false), None)
            .await;
        assert!(changed.expect("a change"));
    }
}

#[tokio::test]
async fn a_socket_of_a_session_ends_when_its_account_gets_another_role() {
    let first = TestStore::start().await;
    let second = first.replica().await;
    let mut alice = second.signed_in("alice").await;
    alice.visit(&second.instance("private", "/")).await;
    let url = second.instance("private", "/socket");
    let mut socket = alice.socket(&url, &[]).await.expect("a socket");
    let changed = first
        .catalog
        .change_account("alice", AccountChange::role(Role::Visitor), None)
        .await;
    assert!(changed.expect("a change"));
    ended(&mut socket).await;
    assert!(alice.socket(&url, &[]).await.is_ok(), "she may still enter");
}

#[tokio::test]
async fn bad_tokens_run_out_of_attempts_and_good_ones_that_are_known_do_not() {
    let store = TestStore::start().await;
    let mut program = store.browser();
    let url = store.instance("private", "/");
    let alice = store.token("alice", &[Scope::Instances]).await;
    assert_eq!(status(&mut program, &url, &alice).await, 200);
    let mut refused = 0;
    let late = loop {
        let answer = ask(&mut program, Method::GET, &url, "Bearer wrong").await;
        if answer.status() != 401 {
            break answer;
        }
        refused += 1;
        assert!(refused < 200, "they never run out");
    };
    assert_eq!(late.status(), 429);
    assert!(late.headers().contains_key("retry-after"));
    assert!(refused >= 60, "{refused}");
    assert_eq!(status(&mut program, &url, &alice).await, 200);
    // One that is not known here has to wait like a bad one.
    let unknown = store.token("alice", &[Scope::Instances]).await;
    assert_eq!(status(&mut program, &url, &unknown).await, 429);
    // Passwords have attempts of their own.
    store.signed_in("mallory").await;
}

#[tokio::test]
async fn a_known_token_outlives_the_database_for_a_while() {
    let store = TestStore::start().await;
    let mut program = store.browser();
    let url = store.instance("private", "/");
    let known = store.token("alice", &[Scope::Instances]).await;
    let unknown = store.token("alice", &[Scope::Instances]).await;
    assert_eq!(status(&mut program, &url, &known).await, 200);
    store.catalog.close().await;
    assert_eq!(status(&mut program, &url, &unknown).await, 503);
    let start = Instant::now();
    // Longer than its answer is fresh.
    eventually("it is asked about again", async || {
        assert_eq!(status(&mut program, &url, &known).await, 200);
        start.elapsed().as_secs() >= 3
    })
    .await;
    let mut open = socket(&store, "private", &known).await;
    let closed = timeout(std::time::Duration::from_secs(3), open.next()).await;
    assert!(closed.is_err(), "it was closed: {closed:?}");
}

#[tokio::test]
async fn a_token_that_another_replica_serves_is_known_when_the_database_goes_away() {
    let store = TestStore::start().await;
    let replicas = [(); 2].map(|()| Bearers::new(store.catalog.clone(), None));
    let since = chrono::Utc::now();
    let key = store.token("alice", &[Scope::Instances]).await.key();
    let [learned, other] = &replicas;
    learned.learn(since).await.expect("learn");
    store.catalog.close().await;
    let known = learned.token(key).await.expect("it is known");
    assert_eq!(known.expect("it is in force").account, "alice");
    assert!(matches!(other.token(key).await, Err(Error::CatalogAway(_))));
    assert!(learned.learn(since).await.is_err());
}

#[tokio::test]
async fn a_token_shows_that_it_was_used() {
    let store = TestStore::start().await;
    let mut program = store.browser();
    let token = store.token("alice", &[Scope::Instances]).await;
    let before = store.catalog.tokens_of("alice").await.expect("read");
    assert_eq!(before[0].last_used_at, None);
    assert_eq!(
        status(&mut program, &store.instance("private", "/"), &token).await,
        200
    );
    let after = store.catalog.tokens_of("alice").await.expect("read");
    assert!(after[0].last_used_at.is_some());
}

#[tokio::test]
async fn the_api_says_whose_request_it_is() {
    let store = TestStore::start().await;
    let mut program = store.browser();
    let url = store.store("/api/v1/account");
    let token = store.token("alice", &[Scope::Store]).await;
    let line = format!("Bearer {}", token.expose());
    let answer = ask(&mut program, Method::GET, &url, &line).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    let words = answer.text().await.expect("a body");
    let account: serde_json::Value = serde_json::from_str(&words).expect("json");
    assert_eq!(account["name"], "alice");
    assert_eq!(account["role"], "full");
    assert_eq!(account["credential"], "token");
    assert_eq!(account["scopes"], serde_json::json!(["store"]));
    assert!(account["expiresAt"].is_string(), "{words}");

    let mut admin = store.signed_in("admin").await;
    let words = admin.open(&url).await.text().await.expect("a body");
    let account: serde_json::Value = serde_json::from_str(&words).expect("json");
    assert_eq!(account["name"], "admin");
    assert_eq!(account["credential"], "session");

    // With a token the cookie does not count; and a token opens no page.
    let answer = ask(&mut admin, Method::GET, &url, "Bearer wrong").await;
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["www-authenticate"], INVALID);
    let answer = ask(&mut admin, Method::GET, &url, &line).await;
    let words = answer.text().await.expect("a body");
    assert!(words.contains("alice"), "{words}");
    for path in ["/", "/account", "/accounts"] {
        let answer = ask(&mut admin, Method::GET, &store.store(path), &line).await;
        assert_eq!(answer.status(), 401, "{path}");
    }
    let other = store.token("alice", &[Scope::Instances]).await;
    assert_eq!(status(&mut program, &url, &other).await, 403);
    let answer = program.send(program.request(Method::GET, &url)).await;
    assert_eq!(answer.status(), 401);
}
