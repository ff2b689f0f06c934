//! Terminals that ask to be let in, and those who let them in.

use reqwest::{Method, Response, header};
use serde_json::{Value, json};

use super::audit::trail;
use super::instances::{object, page};
use super::test_store::TestStore;

const DEVICES: &str = "/api/v1/devices";
const TOKEN: &str = "/api/v1/devices/token";

/// A POST by a terminal, which has nothing to show.
async fn post(store: &TestStore, path: &str, body: &Value) -> (u16, Value) {
    object(post_with(store, path, body, None).await).await
}

async fn post_with(store: &TestStore, path: &str, body: &Value, bearer: Option<&str>) -> Response {
    let mut browser = store.browser();
    let mut request = browser
        .request(Method::POST, &store.store(path))
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.to_string());
    if let Some(bearer) = bearer {
        request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
    }
    browser.send(request).await
}

/// A terminal asks, and is told what it goes on with.
async fn ask(store: &TestStore) -> Value {
    let device = json!({ "device": "wavestore on <b>laptop" });
    let (status, told) = post(store, DEVICES, &device).await;
    assert_eq!(status, 201, "{told}");
    told
}

async fn token(store: &TestStore, told: &Value) -> (u16, Value) {
    let asked = json!({ "deviceCode": told["deviceCode"] });
    post(store, TOKEN, &asked).await
}

fn code(told: &Value) -> &str {
    told["userCode"].as_str().expect("a code")
}

#[tokio::test]
async fn a_terminal_is_let_in_by_whoever_is_signed_in() {
    let store = TestStore::start().await;
    let told = ask(&store).await;
    let page_of_all = told["verificationUri"].as_str().expect("an address");
    let (origin, path) = page_of_all.split_at(page_of_all.rfind('/').expect("a path"));
    assert!(
        origin.starts_with("http://store.test") && path == "/device",
        "{told}"
    );
    let path = format!("{path}?code={}", code(&told));
    assert_eq!(told["verificationUriComplete"], format!("{origin}{path}"));
    let (status, pending) = token(&store, &told).await;
    assert_eq!(
        (status, &pending["code"]),
        (400, &json!("AuthorizationPending"))
    );

    let answer = store.browser().open(&store.store(&path)).await;
    let sign_in = answer.headers()[header::LOCATION].to_str().expect("text");
    assert!(
        sign_in.starts_with("/sign-in?next=%2Fdevice%3Fcode%3D"),
        "{sign_in}"
    );

    let mut alice = store.signed_in("alice").await;
    let (status, words) = page(alice.open(&store.store(&path)).await).await;
    assert_eq!(status, 200);
    assert!(
        words.contains(code(&told)) && words.contains("wavestore on &#60;b&#62;laptop"),
        "{words}"
    );
    let yes = [("code", code(&told)), ("answer", "allow")];
    let answer = alice.submit("/device", &yes).await;
    assert_eq!(answer.status(), 303);
    assert_eq!(
        answer.headers()[header::LOCATION],
        "/device?done=device-let-in"
    );
    let (status, _) = page(alice.submit("/device", &yes).await).await;
    assert_eq!(status, 404, "it is answered");

    let (status, made) = token(&store, &told).await;
    assert_eq!(status, 200, "{made}");
    let secret = made["token"].as_str().expect("a token");
    let (status, gone) = token(&store, &told).await;
    assert_eq!((status, &gone["code"]), (400, &json!("DeviceCodeExpired")));

    let new = json!({ "name": "another", "scopes": ["store"], "days": 1 });
    let refused = post_with(&store, "/api/v1/tokens", &new, Some(secret)).await;
    let (status, refused) = object(refused).await;
    assert_eq!((status, &refused["code"]), (403, &json!("TokenByToken")));
    let (_, words) = page(alice.open(&store.store("/account")).await).await;
    assert!(
        words.contains("wavestore on &#60;b&#62;laptop 20"),
        "{words}"
    );
    let trail = trail(&store).await;
    for deed in [
        "let the device",
        "made the token \"wavestore on <b>laptop 20",
    ] {
        assert!(trail.iter().any(|line| line.contains(deed)), "{trail:?}");
    }
    assert!(!trail.iter().any(|line| line.contains(secret)), "{trail:?}");
}

#[tokio::test]
async fn a_terminal_that_is_refused_stays_out() {
    let store = TestStore::start().await;
    let told = ask(&store).await;
    let mut alice = store.signed_in("alice").await;
    let maybe = [("code", code(&told)), ("answer", "maybe")];
    assert_eq!(alice.submit("/device", &maybe).await.status(), 400);
    let no = [("code", code(&told)), ("answer", "deny")];
    let answer = alice.submit("/device", &no).await;
    assert_eq!(
        answer.headers()[header::LOCATION],
        "/device?done=device-refused"
    );
    let (status, denied) = token(&store, &told).await;
    assert_eq!(
        (status, &denied["code"]),
        (403, &json!("AuthorizationDenied"))
    );
    for unknown in ["", "BCDF-GHJK", "0000", "<script>"] {
        let yes = [("code", unknown), ("answer", "allow")];
        let (status, words) = page(alice.submit("/device", &yes).await).await;
        assert_eq!(status, 404, "{unknown}");
        assert!(words.contains("No device waits with this code"), "{words}");
    }
    let unknown = json!({ "deviceCode": "x" });
    let (status, gone) = post(&store, TOKEN, &unknown).await;
    assert_eq!((status, &gone["code"]), (400, &json!("DeviceCodeExpired")));
}

#[tokio::test]
async fn devices_have_names_and_do_not_ask_for_ever() {
    let store = TestStore::start().await;
    for name in ["", " x", "x ", "a\nb", &"x".repeat(41)] {
        let (status, refused) = post(&store, DEVICES, &json!({ "device": name })).await;
        assert_eq!(
            (status, &refused["code"]),
            (400, &json!("BadRequest")),
            "{name:?}"
        );
    }
    // A place comes free every few seconds, however slow this machine is.
    for _ in 0..1000 {
        let (status, told) = post(&store, DEVICES, &json!({ "device": "x" })).await;
        if status == 429 {
            assert_eq!(told["code"], "TooManyAttempts");
            return;
        }
        assert_eq!(status, 201, "{told}");
    }
    panic!("a thousand devices of one address ask at once");
}
