//! A walk over every address of the store's host: what each says to whom.

use crds::Visibility;
use reqwest::{Method, Response, header};
use strum::VariantArray;

use super::browser::Browser;
use super::test_store::TestStore;
use crate::web::endpoint::{Endpoint, Kind};

/// Whom an endpoint lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    /// Anybody.
    Everybody,
    /// Those who are signed in.
    Accounts,
    /// Those who publish apps.
    Publishers,
    /// Admins.
    Admins,
}

/// Written down once more, by hand: a change of the policy or of an endpoint has to be meant.
fn audience(endpoint: Endpoint) -> For {
    match endpoint {
        Endpoint::SignInPage
        | Endpoint::SignIn
        | Endpoint::SignOut
        | Endpoint::SignInAtProvider
        | Endpoint::ProviderAnswer
        | Endpoint::BackChannelLogout
        | Endpoint::ApiDescription
        | Endpoint::ApiDevice
        | Endpoint::ApiDeviceToken => For::Everybody,
        Endpoint::Home
        | Endpoint::Visit
        // Of an app that does not exist; see `pictures_are_for_those_who_see_the_app`.
        | Endpoint::Picture
        | Endpoint::Account
        | Endpoint::ChangePassword
        | Endpoint::EndSession
        | Endpoint::EndOtherSessions
        | Endpoint::CreateToken
        | Endpoint::RevokeToken
        | Endpoint::Device
        | Endpoint::AnswerDevice
        | Endpoint::ApiAccount
        | Endpoint::ApiSessions
        | Endpoint::ApiEndSession
        | Endpoint::ApiEndSessions
        | Endpoint::ApiTokens
        | Endpoint::ApiCreateToken
        | Endpoint::ApiRevokeToken
        | Endpoint::ApiOffer
        | Endpoint::ApiApps
        // Of an app that does not exist; see `publishing`.
        | Endpoint::ApiApp
        | Endpoint::ApiChangeApp
        | Endpoint::ApiDeleteApp
        | Endpoint::ApiBundle
        | Endpoint::ApiPreferences
        | Endpoint::ApiPrefer
        | Endpoint::Prefer
        | Endpoint::Instances
        | Endpoint::ApiInstances
        | Endpoint::ApiCreateInstance
        // Of apps and instances that do not exist; see `instances`.
        | Endpoint::App
        | Endpoint::Run
        | Endpoint::Instance
        | Endpoint::ChangeInstance
        | Endpoint::DeleteInstance
        | Endpoint::ApiInstance
        | Endpoint::ApiChangeInstance
        | Endpoint::ApiDeleteInstance
        | Endpoint::ApiLogs
        | Endpoint::ApiAliases
        | Endpoint::ApiAlias => For::Accounts,
        Endpoint::PublishPage
        | Endpoint::ApiPublish
        | Endpoint::ApiTags
        | Endpoint::ApiTag
        | Endpoint::Secrets
        | Endpoint::SetSecret
        | Endpoint::DeleteSecret
        | Endpoint::ApiSecrets
        | Endpoint::ApiSecret
        | Endpoint::ApiSetSecret
        | Endpoint::ApiDeleteSecret => For::Publishers,
        Endpoint::Tags
        | Endpoint::SetTag
        | Endpoint::DeleteTag
        | Endpoint::Limits
        | Endpoint::ApiLimits
        | Endpoint::Audit
        | Endpoint::ApiAudit
        | Endpoint::ApiSetTag
        | Endpoint::ApiDeleteTag
        | Endpoint::ApiSetAlias
        | Endpoint::ApiDeleteAlias
        | Endpoint::Accounts
        | Endpoint::CreateAccount
        | Endpoint::ResetPassword
        | Endpoint::ChangeRole
        | Endpoint::DisableAccount
        | Endpoint::EnableAccount
        | Endpoint::ApiAccounts
        | Endpoint::ApiCreateAccount
        | Endpoint::ApiOneAccount
        | Endpoint::ApiChangeAccount
        | Endpoint::ApiResetPassword => For::Admins,
    }
}

/// All of them, those that end the session last.
fn endpoints() -> Vec<Endpoint> {
    let mut all = Endpoint::VARIANTS.to_vec();
    all.sort_by_key(|endpoint| *endpoint == Endpoint::SignOut);
    all
}

/// A request as the endpoint wants it, but for its fields.
async fn ask(
    store: &TestStore,
    browser: &mut Browser,
    endpoint: Endpoint,
    token: &str,
) -> Response {
    let url = store.store(&endpoint.path().replace('*', "x"));
    let request = match endpoint.kind() {
        Kind::Read => browser.request(Method::GET, &url),
        Kind::Form | Kind::Call => browser
            .request(Method::POST, &url)
            .header(header::ORIGIN, store.store(""))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(format!("form_token={token}")),
        Kind::Upload => browser
            .request(Method::PUT, &url)
            .header(header::ORIGIN, store.store(""))
            .body("PK"),
        Kind::Create | Kind::Put | Kind::Change => {
            let method = match endpoint.kind() {
                Kind::Create => Method::POST,
                Kind::Put => Method::PUT,
                _ => Method::PATCH,
            };
            browser
                .request(method, &url)
                .header(header::ORIGIN, store.store(""))
                .header(header::CONTENT_TYPE, "application/json")
                .body("{}")
        }
        Kind::Delete => browser
            .request(Method::DELETE, &url)
            .header(header::ORIGIN, store.store("")),
    };
    browser
        .send(request.header(header::ACCEPT, "application/json"))
        .await
}

/// The code of the answer's problem.
fn code(answer: &Response) -> &str {
    let code = answer.headers().get("x-wavestore-error");
    code.map_or("", |code| code.to_str().expect("text"))
}

#[tokio::test]
async fn no_endpoint_answers_without_the_policy() {
    let store = TestStore::start().await;
    for name in ["", "vera", "alice", "admin"] {
        let mut browser = store.browser();
        let for_sign_in = browser.form_token("/sign-in").await.unwrap_or_default();
        let mut token = String::new();
        if !name.is_empty() {
            browser = store.signed_in(name).await;
            token = browser.form_token("/").await.expect("a token");
        }
        for endpoint in endpoints() {
            let token = match endpoint {
                Endpoint::SignIn => &for_sign_in,
                _ => &token,
            };
            let answer = ask(&store, &mut browser, endpoint, token).await;
            let refused = match (audience(endpoint), name) {
                (For::Everybody, _)
                | (For::Accounts, "vera" | "alice" | "admin")
                | (For::Publishers, "alice" | "admin")
                | (For::Admins, "admin") => None,
                (For::Accounts | For::Publishers | For::Admins, "") => Some((401, "NotSignedIn")),
                (For::Publishers, "vera") | (For::Admins, _) => Some((403, "Forbidden")),
                (For::Accounts | For::Publishers, other) => panic!("who is {other}?"),
            };
            let seen = (answer.status().as_u16(), code(&answer).to_owned());
            match refused {
                Some((status, code)) => {
                    assert_eq!(seen, (status, code.to_owned()), "{endpoint:?} to {name:?}");
                    let words = answer.text().await.expect("a body");
                    assert!(
                        !words.contains("alice"),
                        "{endpoint:?} to {name:?}: {words}"
                    );
                }
                None => assert!(
                    !["NotSignedIn", "Forbidden", "Internal", "CatalogAway"].contains(&&*seen.1),
                    "{endpoint:?} to {name:?}: {seen:?}"
                ),
            }
        }
    }
}

#[tokio::test]
async fn no_form_works_without_its_token_or_from_elsewhere() {
    let store = TestStore::start().await;
    let mut admin = store.signed_in("admin").await;
    let token = admin.form_token("/").await.expect("a token");
    let others = {
        let mut mallory = store.signed_in("mallory").await;
        mallory.form_token("/").await.expect("a token")
    };
    for endpoint in endpoints() {
        if endpoint.kind() != Kind::Form {
            continue;
        }
        for wrong in ["", &others] {
            let answer = ask(&store, &mut admin, endpoint, wrong).await;
            let seen = (answer.status().as_u16(), code(&answer));
            assert_eq!(seen, (403, "StaleForm"), "{endpoint:?}");
        }
        for origin in [None, Some("http://evil.test"), Some("null")] {
            let mut request = admin
                .request(Method::POST, &store.store(endpoint.path()))
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(format!("form_token={token}"));
            if let Some(origin) = origin {
                request = request.header(header::ORIGIN, origin);
            }
            let answer = admin.send(request).await;
            let seen = (answer.status().as_u16(), code(&answer));
            assert_eq!(seen, (403, "ForeignOrigin"), "{endpoint:?} from {origin:?}");
        }
    }
    assert_eq!(admin.open(&store.store("/")).await.status(), 200);
}

#[tokio::test]
async fn a_browser_is_led_to_the_sign_in_page_and_back() {
    let store = TestStore::start().await;
    store.publish_app("hello", Visibility::AllUsers).await;
    let mut browser = store.browser();
    for (path, next) in [
        ("/", "/sign-in"),
        ("/account", "/sign-in?next=%2Faccount"),
        ("/accounts?done=x", "/sign-in?next=%2Faccounts%3Fdone%3Dx"),
        ("/assets/x/y", "/sign-in?next=%2Fassets%2Fx%2Fy"),
    ] {
        let answer = browser.open(&store.store(path)).await;
        assert_eq!(answer.status(), 302, "{path}");
        assert_eq!(answer.headers()[header::LOCATION], next, "{path}");
    }
    let answer = browser.post("/account/password", &[]).await;
    assert_eq!(answer.status(), 303);
    assert_eq!(answer.headers()[header::LOCATION], "/sign-in");
}
