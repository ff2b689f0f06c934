//! Accounts, sessions and tokens as programs manage them.

use reqwest::{Method, Response, header};
use serde_json::{Value, json};

use super::audit::trail;
use super::browser::Browser;
use super::instances::object;
use super::test_store::TestStore;

const ACCOUNTS: &str = "/api/v1/accounts";
const SESSIONS: &str = "/api/v1/sessions";
const TOKENS: &str = "/api/v1/tokens";

/// What a page of ours asks of the API.
async fn by_page(
    store: &TestStore,
    browser: &mut Browser,
    (method, path): (Method, &str),
    body: Option<&Value>,
) -> Response {
    let mut request = browser
        .request(method, &store.store(path))
        .header(header::ORIGIN, store.store("").trim_end_matches('/'))
        .header(header::ACCEPT, "application/json");
    if let Some(body) = body {
        request = request
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_string());
    }
    browser.send(request).await
}

#[tokio::test]
async fn an_admin_makes_an_account_which_is_given_a_role_disabled_and_let_in_again() {
    let store = TestStore::start().await;
    let admin = store.program("admin").await;
    let new = json!({ "name": "carol", "role": "visitor" });
    let made = admin.send(Method::POST, ACCOUNTS, Some(new.clone())).await;
    let place = made.headers()[header::LOCATION].to_str().expect("text");
    assert_eq!(place, "/api/v1/accounts/carol");
    assert_eq!(made.headers()[header::CACHE_CONTROL], "no-store");
    let place = place.to_owned();
    let (status, made) = object(made).await;
    assert_eq!((status, &made["name"]), (201, &json!("carol")), "{made}");
    let password = made["password"].as_str().expect("a password").to_owned();
    let answer = store.browser().sign_in("carol", &password).await;
    assert_eq!(answer.status(), 303);
    let (status, twice) = object(admin.send(Method::POST, ACCOUNTS, Some(new)).await).await;
    assert_eq!((status, &twice["code"]), (409, &json!("NameTaken")));

    let seen = admin.send(Method::GET, &place, None).await;
    let first = seen.headers()[header::ETAG]
        .to_str()
        .expect("text")
        .to_owned();
    let (_, seen) = object(seen).await;
    assert_eq!(
        seen,
        json!({
            "name": "carol", "role": "visitor", "disabled": false,
            "passwordExpiresAt": made["passwordExpiresAt"],
        })
    );
    for (change, tag, status, told) in [
        (
            json!({ "role": "full" }),
            Some("\"0\""),
            412,
            json!("Changed"),
        ),
        (json!({ "role": "full" }), Some(&*first), 200, json!("full")),
        (
            json!({ "role": "admin" }),
            Some(&*first),
            412,
            json!("Changed"),
        ),
        (json!({}), None, 200, json!("full")),
        (json!({ "role": "root" }), None, 400, json!("BadDocument")),
        (json!({ "disabled": true }), None, 200, json!("full")),
    ] {
        let answer = admin.send_if(Method::PATCH, &place, Some(change.clone()), tag);
        let (found, answer) = object(answer.await).await;
        let role = answer.get("role").unwrap_or(&answer["code"]);
        assert_eq!((found, role), (status, &told), "{change}");
    }
    let answer = store.browser().sign_in("carol", &password).await;
    assert_eq!(answer.status(), 401);
    let let_in = json!({ "disabled": false });
    let (_, answer) = object(admin.send(Method::PATCH, &place, Some(let_in)).await).await;
    assert_eq!(answer["disabled"], false);

    let reset = format!("{place}/password");
    let (status, answer) = object(admin.send(Method::POST, &reset, Some(json!({}))).await).await;
    assert_eq!(status, 200, "{answer}");
    let other = answer["password"].as_str().expect("a password");
    for (password, status) in [(&*password, 401), (other, 303)] {
        let answer = store.browser().sign_in("carol", password).await;
        assert_eq!(answer.status(), status);
    }
    let trail = trail(&store).await;
    for deed in [
        "made the account carol: Visitor",
        "gave the account carol the role Full",
        "disabled the account carol",
        "let the account carol sign in again",
        "gave the account carol a one-time password",
    ] {
        let found = trail.iter().filter(|line| line.contains(deed));
        assert_eq!(found.count(), 1, "{deed}: {trail:?}");
    }
    let secrets = [&*password, other];
    assert!(
        !trail
            .iter()
            .any(|line| secrets.iter().any(|secret| line.contains(secret))),
        "{trail:?}"
    );
}

#[tokio::test]
async fn accounts_are_listed_piece_by_piece_and_the_last_admin_stays() {
    let store = TestStore::start().await;
    let admin = store.program("admin").await;
    let mut path = format!("{ACCOUNTS}?limit=2");
    let mut names = Vec::new();
    loop {
        let (status, page) = admin.get(&path).await;
        assert_eq!(status, 200, "{page}");
        let items = page["items"].as_array().expect("a list");
        assert!(items.len() <= 2, "{page}");
        names.extend(items.iter().map(|item| item["name"].clone()));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut path),
            None => break,
        }
    }
    let mut sorted = names.clone();
    sorted.sort_by_key(ToString::to_string);
    sorted.dedup();
    assert_eq!(names, sorted);
    assert!(
        names.contains(&json!("alice")) && names.contains(&json!("admin")),
        "{names:?}"
    );
    for after in ["", "%00", "a%20b", "%25"] {
        let (status, _) = admin.get(&format!("{ACCOUNTS}?after={after}")).await;
        assert_eq!(status, 400, "{after}");
    }
    for change in [json!({ "role": "full" }), json!({ "disabled": true })] {
        let own = format!("{ACCOUNTS}/admin");
        let answer = admin.send(Method::PATCH, &own, Some(change)).await;
        let (status, answer) = object(answer).await;
        assert_eq!((status, &answer["code"]), (409, &json!("LastAdmin")));
    }
    for name in ["nobody", "%00", "a%2Fb"] {
        let place = format!("{ACCOUNTS}/{name}");
        assert_eq!(admin.get(&place).await.0, 404, "{name}");
        let reset = format!("{place}/password");
        let answer = admin.send(Method::POST, &reset, Some(json!({}))).await;
        assert_eq!(answer.status(), 404, "{name}");
    }
}

#[tokio::test]
async fn somebody_looks_after_their_own_sessions() {
    let store = TestStore::start().await;
    let program = store.program("alice").await;
    let mut here = store.signed_in("alice").await;
    let mut there = store.signed_in("alice").await;
    let mut third = store.signed_in("alice").await;
    let _mallory = store.signed_in("mallory").await;
    let (_, by_program) = program.get(SESSIONS).await;
    let all = by_program["items"].as_array().expect("a list");
    assert_eq!(all.len(), 3, "{by_program}");
    assert!(all.iter().all(|session| session["current"] == false));
    let listed = by_page(&store, &mut here, (Method::GET, SESSIONS), None).await;
    let (_, listed) = object(listed).await;
    let current = listed["items"].as_array().expect("a list").iter();
    assert_eq!(
        current.filter(|session| session["current"] == true).count(),
        1
    );

    let listed = by_page(&store, &mut there, (Method::GET, SESSIONS), None).await;
    let (_, listed) = object(listed).await;
    let items = listed["items"].as_array().expect("a list");
    let own = items.iter().find(|session| session["current"] == true);
    let id = own.expect("the session itself")["id"]
        .as_str()
        .expect("an id");
    let place = format!("{SESSIONS}/{id}");
    let mallory = store.program("mallory").await;
    assert_eq!(
        mallory.send(Method::DELETE, &place, None).await.status(),
        404
    );
    assert_eq!(
        program.send(Method::DELETE, &place, None).await.status(),
        204
    );
    assert_eq!(
        program.send(Method::DELETE, &place, None).await.status(),
        404
    );
    assert_eq!(there.open(&store.store("/account")).await.status(), 302);

    let foreign = here.request(Method::DELETE, &store.store(SESSIONS));
    assert_eq!(here.send(foreign).await.status(), 403, "no page of ours");
    let ended = by_page(&store, &mut here, (Method::DELETE, SESSIONS), None).await;
    assert_eq!(ended.status(), 204);
    assert_eq!(third.open(&store.store("/account")).await.status(), 302);
    assert_eq!(here.open(&store.store("/account")).await.status(), 200);
    assert_eq!(
        program.send(Method::DELETE, SESSIONS, None).await.status(),
        204
    );
    let (_, none) = program.get(SESSIONS).await;
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn somebody_makes_tokens_in_a_session_and_revokes_them_with_one() {
    let store = TestStore::start().await;
    let program = store.program("alice").await;
    let mut alice = store.signed_in("alice").await;
    let good = json!({ "name": "nightly", "scopes": ["store"], "days": 7.0 });
    let refused = program.send(Method::POST, TOKENS, Some(good.clone())).await;
    let (status, refused) = object(refused).await;
    assert_eq!((status, &refused["code"]), (403, &json!("TokenByToken")));
    for (field, value) in [
        ("name", json!("")),
        ("name", json!("a\nb")),
        ("name", json!("x".repeat(65))),
        ("scopes", json!([])),
        ("scopes", json!(["everything"])),
        ("days", json!(0)),
        ("days", json!(366)),
        ("days", json!(1.5)),
        ("days", json!(-1)),
        ("days", json!("7")),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        let answer = by_page(&store, &mut alice, (Method::POST, TOKENS), Some(&bad)).await;
        assert_eq!(answer.status(), 400, "{bad}");
    }
    let made = by_page(&store, &mut alice, (Method::POST, TOKENS), Some(&good)).await;
    let place = made.headers()[header::LOCATION]
        .to_str()
        .expect("text")
        .to_owned();
    let (status, made) = object(made).await;
    assert_eq!(status, 201, "{made}");
    let secret = made["token"].as_str().expect("a token");
    let twice = by_page(&store, &mut alice, (Method::POST, TOKENS), Some(&good)).await;
    assert_eq!(twice.status(), 409);

    let (_, all) = program.get(TOKENS).await;
    assert!(!all.to_string().contains(secret), "{all}");
    let items = all["items"].as_array().expect("a list");
    let nightly = items
        .iter()
        .find(|token| token["name"] == "nightly")
        .expect("there");
    assert_eq!(nightly["scopes"], json!(["store"]));
    assert_eq!(
        place,
        format!("{TOKENS}/{}", nightly["id"].as_str().expect("an id"))
    );
    let mallory = store.program("mallory").await;
    assert_eq!(
        mallory.send(Method::DELETE, &place, None).await.status(),
        404
    );
    assert_eq!(
        program.send(Method::DELETE, &place, None).await.status(),
        204
    );
    assert_eq!(
        program.send(Method::DELETE, &place, None).await.status(),
        404
    );
}
