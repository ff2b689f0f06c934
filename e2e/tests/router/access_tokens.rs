//! Programs that come with access tokens of the OIDC provider: a certified one, and one that misbehaves in every way it can.

use anyhow::{Result, ensure};
use e2e::{
    ADMIN, ADMIN_PASSWORD, CLIENT_ID, Fake, FakeApp, OidcProvider, Router, Sandbox, eventually,
};
use reqwest::{Method, header};
use serde_json::{Value, json};

use super::oidc::{AUDIENCE, Scene, certified, changed, now};

/// What a program gets that shows this token to an instance.
async fn status(router: &Router, instance: &str, token: &str) -> Result<u16> {
    let mut program = router.user()?;
    let request = program
        .request(Method::GET, &router.instance(instance, "/"))?
        .bearer_auth(token);
    let answer = program.send(request).await?;
    let status = answer.status().as_u16();
    let challenge = answer.headers().get(header::WWW_AUTHENTICATE);
    if status == 401 {
        ensure!(
            challenge.is_some_and(|it| it == r#"Bearer realm="wavestore", error="invalid_token""#),
            "{challenge:?}"
        );
    }
    Ok(status)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_enters_with_an_access_token_of_the_certified_provider() -> Result<()> {
    let sandbox = Sandbox::create("access-tokens").await?;
    let app = FakeApp::start().await?;
    for (name, owner) in [("robots", "robot"), ("sales", ADMIN)] {
        sandbox.fake(&Fake::new(name, owner, app.address())).await?;
    }
    let (mut provider, router): (OidcProvider, Router) = certified(&sandbox).await?;
    let token = provider.access_token(AUDIENCE).await?;
    eventually("the instance", async || {
        let status = status(&router, "robots", &token).await?;
        ensure!(status == 200, "{status}");
        Ok(())
    })
    .await?;
    ensure!(status(&router, "sales", &token).await? == 404, "another's");
    ensure!(status(&router, "nothing", &token).await? == 404, "nothing");
    for reached in app.reached() {
        ensure!(reached.header("authorization").is_none(), "{reached:?}");
        ensure!(!format!("{reached:?}").contains(&token), "{reached:?}");
    }

    let elsewhere = provider.access_token("other-api").await?;
    ensure!(
        status(&router, "robots", &elsewhere).await? == 401,
        "another audience"
    );
    let log = router.log()?;
    for token in [&token, &elsewhere] {
        let payload = token.split('.').nth(1).unwrap_or_default();
        ensure!(!log.contains(payload), "a token is in the log");
    }

    // New keys at the provider.
    provider.stop().await?;
    ensure!(
        status(&router, "robots", &token).await? == 200,
        "it is away"
    );
    provider.restart().await?;
    let token = provider.access_token(AUDIENCE).await?;
    eventually("a token by the new keys", async || {
        let status = status(&router, "robots", &token).await?;
        ensure!(status == 200, "{status}");
        Ok(())
    })
    .await?;
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "most of them are one table")]
async fn tokens_that_are_not_as_they_must_be_open_nothing() -> Result<()> {
    let sandbox = Sandbox::create("access-tokens-forged").await?;
    let app = FakeApp::start().await?;
    sandbox
        .fake(&Fake::new("sales", "alice", app.address()))
        .await?;
    let scene = Scene::set(&sandbox).await?;
    let now = now()?;
    let good = json!({
        "iss": scene.issuer.issuer(), "aud": AUDIENCE, "sub": "1", "preferred_username": "alice",
        "realm_access": { "roles": ["store-maker"] }, "client_id": "robot", "scope": "use",
        "iat": now - 1, "exp": now + 300, "jti": "1",
    });
    let at = json!({ "typ": "at+jwt" });
    let id_token = scene.claims("1", "alice")?;
    let mixed = changed(&id_token, "aud", json!([CLIENT_ID, AUDIENCE]));
    // What is wrong, who signs, the header, the claims.
    let cases: Vec<(&str, &str, Value, Value)> = vec![
        (
            "for another",
            "issuer",
            at.clone(),
            changed(&good, "aud", json!("other")),
        ),
        (
            "for nobody",
            "issuer",
            at.clone(),
            changed(&good, "aud", Value::Null),
        ),
        (
            "for the sign-in",
            "issuer",
            at.clone(),
            changed(&good, "aud", json!(CLIENT_ID)),
        ),
        (
            "expired",
            "issuer",
            at.clone(),
            changed(&good, "exp", json!(now - 60)),
        ),
        (
            "without an end",
            "issuer",
            at.clone(),
            changed(&good, "exp", Value::Null),
        ),
        (
            "not yet",
            "issuer",
            at.clone(),
            changed(&good, "nbf", json!(now + 120)),
        ),
        (
            "made in the future",
            "issuer",
            at.clone(),
            changed(&good, "iat", json!(now + 120)),
        ),
        (
            "of another issuer",
            "issuer",
            at.clone(),
            changed(&good, "iss", json!("http://127.0.0.1:1")),
        ),
        (
            "for nobody's sake",
            "issuer",
            at.clone(),
            changed(&good, "sub", json!("")),
        ),
        ("unsigned", "nobody", at.clone(), good.clone()),
        ("signed by a stranger", "stranger", at.clone(), good.clone()),
        (
            "signed with the client's secret",
            "secret",
            at.clone(),
            good.clone(),
        ),
        (
            "signed with the public key",
            "public",
            at.clone(),
            good.clone(),
        ),
        (
            "a logout token",
            "issuer",
            json!({ "typ": "logout+jwt" }),
            good.clone(),
        ),
        (
            "an ID token",
            "issuer",
            json!({ "typ": "JWT" }),
            id_token.clone(),
        ),
        (
            "an ID token for us as well",
            "issuer",
            json!({ "typ": "JWT" }),
            changed(&mixed, "nonce", json!("n")),
        ),
        (
            "an ID token with a hash",
            "issuer",
            json!({}),
            changed(&mixed, "at_hash", json!("h")),
        ),
        (
            "a refresh token",
            "issuer",
            json!({}),
            changed(&good, "typ", json!("Refresh")),
        ),
    ];
    for (name, by, header, claims) in cases {
        let token = scene.sign(by, header, &claims).await?;
        let status = status(&scene.router, "sales", &token).await?;
        ensure!(status == 401, "{name}: {status}");
    }
    ensure!(app.reached().is_empty(), "one of them got in");

    for header in [
        at.clone(),
        json!({ "typ": "JWT" }),
        json!({ "typ": "application/at+jwt" }),
    ] {
        let token = scene.sign("issuer", header.clone(), &good).await?;
        eventually("the instance", async || {
            let status = status(&scene.router, "sales", &token).await?;
            ensure!(status == 200, "{header}: {status}");
            Ok(())
        })
        .await?;
    }
    // No token of the provider opens a local account.
    let admin = changed(
        &changed(&good, "sub", json!("2")),
        "preferred_username",
        json!(ADMIN),
    );
    let token = scene.sign("issuer", at.clone(), &admin).await?;
    ensure!(
        status(&scene.router, "sales", &token).await? == 409,
        "a name"
    );
    scene.router.user()?.sign_in(ADMIN, ADMIN_PASSWORD).await?;

    // One that ends soon ends here, too.
    let short = changed(&good, "exp", json!(super::oidc::now()? + 5));
    let token = scene.sign("issuer", at, &short).await?;
    ensure!(
        status(&scene.router, "sales", &token).await? == 200,
        "it is good"
    );
    eventually("its end", async || {
        let status = status(&scene.router, "sales", &token).await?;
        ensure!(status == 401, "{status}");
        Ok(())
    })
    .await?;
    sandbox.passed();
    Ok(())
}
