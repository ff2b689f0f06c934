//! Sign-in at an OIDC provider: a certified one in a real browser, and one that misbehaves in every way it can.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use e2e::{
    ADMIN, ADMIN_PASSWORD, Browser, CLIENT_ID, CLIENT_SECRET, Fake, FakeApp, OidcProvider, Router,
    RouterLaunch, Sandbox, User, eventually, location,
};
use fantoccini::Locator;
use reqwest::{Method, Response, Url, header};
use serde_json::{Value, json};

/// Audience of access tokens for the store.
pub(crate) const AUDIENCE: &str = "store-api";

/// A router whose people sign in at this issuer.
pub(crate) fn launch<'a>(sandbox: &'a Sandbox, issuer: &str) -> Result<RouterLaunch<'a>> {
    let secret = sandbox.folder().join("client-secret");
    std::fs::write(&secret, format!("{CLIENT_SECRET}\n"))?;
    Ok(sandbox
        .router()
        .flag(format!("--oidc-issuer={issuer}"))
        .flag(format!("--oidc-client-id={CLIENT_ID}"))
        .flag(format!("--oidc-client-secret-file={}", secret.display()))
        .flag("--oidc-admin-role=store-admin")
        .flag("--oidc-full-role=store-maker")
        .flag(format!("--oidc-audience={AUDIENCE}")))
}

/// The certified provider and a router, which know each other.
pub(crate) async fn certified(sandbox: &Sandbox) -> Result<(OidcProvider, Router)> {
    let port = RouterLaunch::free_port()?;
    let provider = OidcProvider::certified(&format!("http://localhost:{port}")).await?;
    let router = launch(sandbox, &provider.issuer())?
        .port(port)
        .start()
        .await?;
    Ok((provider, router))
}

/// Signs in at the provider by its own pages, from the store's sign-in page.
async fn sign_in(browser: &Browser, name: &str) -> Result<()> {
    browser.clicks("a[href^='/sign-in/provider']").await?;
    let page = &browser.page;
    let field = page
        .wait()
        .for_element(Locator::Css("input[name=login]"))
        .await?;
    field.send_keys(name).await?;
    let field = page.find(Locator::Css("input[name=password]")).await?;
    field.send_keys("any").await?;
    page.find(Locator::Css("button[type=submit]"))
        .await?
        .click()
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_at_the_provider_and_out_again() -> Result<()> {
    let sandbox = Sandbox::create("oidc-browser").await?;
    let app = FakeApp::start().await?;
    sandbox
        .fake(&Fake::new("sales", "maker", app.address()))
        .await?;
    let (mut provider, router) = certified(&sandbox).await?;
    let browser = Browser::start().await?;

    // From an instance, by way of store and provider, back to where it wanted to go.
    browser
        .page
        .goto(&router.instance("sales", "/deep?a=b"))
        .await?;
    sign_in(&browser, "maker").await?;
    browser.sees("\"path\":\"/deep?a=b\"").await?;
    browser.page.goto(&router.store("/")).await?;
    browser.sees("Signed in as maker").await?;

    // Signing out ends the session here and there.
    browser.clicks("form[action='/sign-out'] button").await?;
    let confirm = browser.page.wait();
    let confirm = confirm
        .for_element(Locator::Css("button[name=logout]"))
        .await?;
    confirm.click().await?;
    eventually("the sign-in page", async || {
        let at = browser.page.current_url().await?;
        ensure!(
            at.as_str().starts_with(&router.store("/sign-in")),
            "at {at}"
        );
        Ok(())
    })
    .await?;
    is_sent_to_sign_in(&browser, &router).await?;
    // The provider asks for the name again.
    sign_in(&browser, "maker").await?;
    browser.sees("\"path\":\"/\"").await?;

    // The provider ends its session by itself: the back channel ends ours, and the instance's.
    browser
        .page
        .goto(&format!("{}/session/end", provider.issuer()))
        .await?;
    let confirm = browser.page.wait();
    let confirm = confirm
        .for_element(Locator::Css("button[name=logout]"))
        .await?;
    confirm.click().await?;
    is_sent_to_sign_in(&browser, &router).await?;
    ensure!(
        router.log()?.contains("The provider ended"),
        "it was not told"
    );

    // New keys at the provider.
    provider.stop().await?;
    provider.restart().await?;
    eventually("a sign-in by the new keys", async || {
        browser.page.goto(&router.store("/sign-in")).await?;
        sign_in(&browser, "boss").await?;
        browser.sees("Signed in as boss").await
    })
    .await?;
    browser.close().await?;
    sandbox.passed();
    Ok(())
}

/// Within seconds the end of a session counts on instances' hosts, too.
async fn is_sent_to_sign_in(browser: &Browser, router: &Router) -> Result<()> {
    eventually("the session to be over", async || {
        browser.page.goto(&router.instance("sales", "/")).await?;
        let at = browser.page.current_url().await?;
        ensure!(at.path() == "/sign-in", "at {at}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_runs_while_its_provider_is_away() -> Result<()> {
    let sandbox = Sandbox::create("oidc-away").await?;
    let port = RouterLaunch::free_port()?;
    let store = format!("http://localhost:{port}");
    let mut provider = OidcProvider::certified(&store).await?;
    provider.stop().await?;
    let router = launch(&sandbox, &provider.issuer())?
        .port(port)
        .start()
        .await?;

    let mut user = router.user()?;
    let page = user.open(&router.store("/sign-in")).await?;
    ensure!(page.status() == 200, "{}", page.status());
    let answer = user.open(&router.store("/sign-in/provider")).await?;
    ensure!(answer.status() == 503, "{}", answer.status());
    let page = answer.text().await?;
    ensure!(page.contains("does not answer"), "{page}");
    user.sign_in(ADMIN, ADMIN_PASSWORD).await?;

    provider.restart().await?;
    eventually("the way to the provider", async || {
        let answer = user.open(&router.store("/sign-in/provider")).await?;
        ensure!(answer.status() == 302, "{}", answer.status());
        Ok(())
    })
    .await?;
    sandbox.passed();
    Ok(())
}

/// The misbehaving provider, a router, and somebody who wants to sign in.
pub(crate) struct Scene {
    pub(crate) issuer: OidcProvider,
    pub(crate) router: Router,
}

impl Scene {
    pub(crate) async fn set(sandbox: &Sandbox) -> Result<Self> {
        let issuer = OidcProvider::misbehaving().await?;
        let router = launch(sandbox, &issuer.issuer())?.start().await?;
        Ok(Self { issuer, router })
    }

    /// Claims of an ID token that would be taken, but for its nonce.
    pub(crate) fn claims(&self, subject: &str, name: &str) -> Result<Value> {
        let now = now()?;
        Ok(json!({
            "iss": self.issuer.issuer(), "aud": CLIENT_ID, "sub": subject, "preferred_username": name,
            "realm_access": { "roles": ["store-maker"] }, "sid": format!("session-of-{subject}"),
            "iat": now, "exp": now + 300,
        }))
    }

    pub(crate) async fn sign(&self, by: &str, header: Value, claims: &Value) -> Result<String> {
        let order = json!({ "by": by, "header": header, "claims": claims });
        self.issuer.tell("sign", order.to_string()).await
    }

    /// Begins a sign-in; answers what the provider is asked.
    async fn begin(&self, user: &mut User) -> Result<Asked> {
        let answer = user
            .open(&self.router.store("/sign-in/provider?next=/x"))
            .await?;
        let url: Url = location(&answer)?
            .context("no way to the provider")?
            .parse()?;
        let field = |name: &str| {
            let found = url.query_pairs().find(|(key, _)| key == name);
            found.map(|(_, value)| value.into_owned())
        };
        ensure!(
            field("code_challenge_method").as_deref() == Some("S256"),
            "{url}"
        );
        ensure!(field("response_type").as_deref() == Some("code"), "{url}");
        Ok(Asked {
            state: field("state").context("no state")?,
            nonce: field("nonce").context("no nonce")?,
        })
    }

    /// Comes back from the provider.
    async fn come_back(&self, user: &mut User, state: &str) -> Result<Response> {
        let mut url: Url = self.router.store("/sign-in/callback").parse()?;
        url.query_pairs_mut()
            .append_pair("state", state)
            .append_pair("code", "a-code");
        user.open(url.as_str()).await
    }

    /// A whole sign-in with these claims and the right nonce.
    pub(crate) async fn sign_in(&self, user: &mut User, mut claims: Value) -> Result<Response> {
        let asked = self.begin(user).await?;
        claims["nonce"] = asked.nonce.into();
        let token = self.sign("issuer", json!({}), &claims).await?;
        self.issuer.tell("answer", token).await?;
        self.come_back(user, &asked.state).await
    }

    async fn signed_in_as(&self, user: &mut User) -> Result<Option<String>> {
        let page = user.open(&self.router.store("/")).await?;
        if page.status() == 302 {
            return Ok(None);
        }
        let page = page.text().await?;
        let name = page.split("Signed in as <strong>").nth(1);
        let name = name.and_then(|rest| rest.split("</strong>").next());
        Ok(Some(name.with_context(|| page.clone())?.to_owned()))
    }
}

struct Asked {
    state: String,
    nonce: String,
}

pub(crate) fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

pub(crate) fn changed(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_not_as_they_must_be_sign_nobody_in() -> Result<()> {
    let sandbox = Sandbox::create("oidc-forged").await?;
    let scene = Scene::set(&sandbox).await?;
    let mut user = scene.router.user()?;
    let none = json!({});
    let now = now()?;
    // What is wrong, who signs, the header, a claim that is changed.
    let cases = [
        ("expired", "issuer", none.clone(), "exp", json!(now - 300)),
        (
            "for another client",
            "issuer",
            none.clone(),
            "aud",
            json!("other"),
        ),
        (
            "for others as well",
            "issuer",
            none.clone(),
            "aud",
            json!([CLIENT_ID, "other"]),
        ),
        (
            "of another issuer",
            "issuer",
            none.clone(),
            "iss",
            json!("http://127.0.0.1:1"),
        ),
        (
            "another nonce",
            "issuer",
            none.clone(),
            "nonce",
            json!("other"),
        ),
        ("no nonce", "issuer", none.clone(), "nonce", Value::Null),
        (
            "of another party",
            "issuer",
            none.clone(),
            "azp",
            json!("other"),
        ),
        ("unsigned", "nobody", none.clone(), "x", json!(1)),
        (
            "signed with the client's secret",
            "secret",
            none.clone(),
            "x",
            json!(1),
        ),
        (
            "signed with the public key as a secret",
            "public",
            none.clone(),
            "x",
            json!(1),
        ),
        (
            "signed by a stranger",
            "stranger",
            none.clone(),
            "x",
            json!(1),
        ),
        (
            "by an unknown key",
            "stranger",
            json!({ "kid": "x" }),
            "x",
            json!(1),
        ),
    ];
    for (name, by, header, claim, value) in cases {
        let asked = scene.begin(&mut user).await?;
        let claims = changed(&scene.claims("1", "alice")?, "nonce", asked.nonce.into());
        let token = scene
            .sign(by, header, &changed(&claims, claim, value))
            .await?;
        scene.issuer.tell("answer", token).await?;
        let answer = scene.come_back(&mut user, &asked.state).await?;
        ensure!(answer.status() == 502, "{name}: {}", answer.status());
        let signed_in = scene.signed_in_as(&mut user).await?;
        ensure!(signed_in.is_none(), "{name}: {signed_in:?}");
    }
    let answer = scene
        .sign_in(&mut user, scene.claims("1", "alice")?)
        .await?;
    ensure!(
        location(&answer)?.is_some_and(|at| at.ends_with("/x")),
        "{}",
        answer.status()
    );
    ensure!(
        scene.signed_in_as(&mut user).await?.as_deref() == Some("alice"),
        "nobody"
    );
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_the_provider_counts_once_and_in_its_browser() -> Result<()> {
    let sandbox = Sandbox::create("oidc-replayed").await?;
    let scene = Scene::set(&sandbox).await?;
    let mut user = scene.router.user()?;
    let mut other = scene.router.user()?;
    scene.begin(&mut other).await?;

    // Two tabs at once.
    let first = scene.begin(&mut user).await?;
    let second = scene.begin(&mut user).await?;
    for asked in [&first, &second] {
        let claims = changed(
            &scene.claims("1", "alice")?,
            "nonce",
            asked.nonce.clone().into(),
        );
        let token = scene.sign("issuer", json!({}), &claims).await?;
        scene.issuer.tell("answer", token).await?;
        let stolen = scene.come_back(&mut other, &asked.state).await?;
        ensure!(
            stolen.status() == 400,
            "another browser: {}",
            stolen.status()
        );
        let mut nobody = scene.router.user()?;
        let stolen = scene.come_back(&mut nobody, &asked.state).await?;
        ensure!(stolen.status() == 400, "no cookie: {}", stolen.status());
        let answer = scene.come_back(&mut user, &asked.state).await?;
        ensure!(answer.status() == 302, "{}", answer.status());
        let again = scene.come_back(&mut user, &asked.state).await?;
        ensure!(
            again.status() == 400,
            "the same state again: {}",
            again.status()
        );
    }
    ensure!(
        scene.signed_in_as(&mut other).await?.is_none(),
        "a stolen answer counts"
    );

    // One token, two attempts: the nonce is another's.
    let asked = scene.begin(&mut user).await?;
    let answer = scene.come_back(&mut user, &asked.state).await?;
    ensure!(
        answer.status() == 502,
        "a replayed token: {}",
        answer.status()
    );

    let url = scene
        .router
        .store("/sign-in/callback?error=access_denied&state=");
    let asked = scene.begin(&mut user).await?;
    let refused = user.open(&format!("{url}{}", asked.state)).await?;
    ensure!(refused.status() == 403, "{}", refused.status());
    let page = refused.text().await?;
    ensure!(page.contains("access_denied"), "{page}");
    sandbox.passed();
    Ok(())
}

/// CVE-2020-15110: a name at the provider and the same name here are two people.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2020_15110_a_name_at_the_provider_opens_no_local_account() -> Result<()> {
    let sandbox = Sandbox::create("oidc-names").await?;
    let scene = Scene::set(&sandbox).await?;
    for name in [ADMIN, "Admin", "ADMIN"] {
        let mut user = scene.router.user()?;
        let answer = scene.sign_in(&mut user, scene.claims("1", name)?).await?;
        ensure!(answer.status() == 409, "{name}: {}", answer.status());
        ensure!(scene.signed_in_as(&mut user).await?.is_none(), "{name}");
    }
    for name in ["", "-x", "a b", "system:admin"] {
        let mut user = scene.router.user()?;
        let answer = scene.sign_in(&mut user, scene.claims("1", name)?).await?;
        ensure!(answer.status() == 403, "`{name}`: {}", answer.status());
    }
    let mut alice = scene.router.user()?;
    scene
        .sign_in(&mut alice, scene.claims("1", "alice")?)
        .await?;
    ensure!(
        scene.signed_in_as(&mut alice).await?.as_deref() == Some("alice"),
        "nobody"
    );
    // Somebody else there gets the same name; she herself keeps hers when it changes.
    let mut mallory = scene.router.user()?;
    let answer = scene
        .sign_in(&mut mallory, scene.claims("2", "alice")?)
        .await?;
    ensure!(answer.status() == 409, "{}", answer.status());
    scene
        .sign_in(&mut alice, scene.claims("1", "alice.miller")?)
        .await?;
    ensure!(
        scene.signed_in_as(&mut alice).await?.as_deref() == Some("alice"),
        "renamed"
    );
    // No password opens her account.
    let answer = mallory
        .submit("/sign-in", &[("name", "alice"), ("password", "")])
        .await?;
    ensure!(answer.status() == 401, "{}", answer.status());
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_token_ends_what_it_names_and_counts_once() -> Result<()> {
    let sandbox = Sandbox::create("oidc-back-channel").await?;
    let scene = Scene::set(&sandbox).await?;
    let now = now()?;
    let event = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    let good = json!({
        "iss": scene.issuer.issuer(), "aud": CLIENT_ID, "iat": now, "exp": now + 120, "jti": "1",
        "events": event, "sub": "1",
    });
    let mut alice = scene.router.user()?;
    scene
        .sign_in(&mut alice, scene.claims("1", "alice")?)
        .await?;
    let mut bob = scene.router.user()?;
    scene.sign_in(&mut bob, scene.claims("2", "bob")?).await?;
    let typ = json!({ "typ": "logout+jwt" });
    let none = json!({});
    let cases = [
        ("unsigned", "nobody", none.clone(), "x", json!(1)),
        (
            "signed by a stranger",
            "stranger",
            none.clone(),
            "x",
            json!(1),
        ),
        (
            "signed with the client's secret",
            "secret",
            none.clone(),
            "x",
            json!(1),
        ),
        (
            "an access token's type",
            "issuer",
            json!({ "typ": "at+jwt" }),
            "x",
            json!(1),
        ),
        (
            "for another client",
            "issuer",
            typ.clone(),
            "aud",
            json!("other"),
        ),
        (
            "of another issuer",
            "issuer",
            typ.clone(),
            "iss",
            json!("http://127.0.0.1:1"),
        ),
        ("expired", "issuer", typ.clone(), "exp", json!(now - 60)),
        ("old", "issuer", typ.clone(), "iat", json!(now - 3600)),
        ("no event", "issuer", typ.clone(), "events", json!({})),
        ("a nonce", "issuer", typ.clone(), "nonce", json!("x")),
        ("no id", "issuer", typ.clone(), "jti", Value::Null),
        ("nobody named", "issuer", typ.clone(), "sub", Value::Null),
    ];
    for (name, by, header, claim, value) in cases {
        let token = scene
            .sign(by, header, &changed(&good, claim, value))
            .await?;
        let status = back_channel(&scene.router, &token).await?;
        ensure!(status == 400, "{name}: {status}");
    }
    ensure!(
        scene.signed_in_as(&mut alice).await?.is_some(),
        "a bad token counts"
    );

    let token = scene.sign("issuer", typ.clone(), &good).await?;
    ensure!(back_channel(&scene.router, &token).await? == 200, "refused");
    is_over(&scene, &mut alice).await?;
    ensure!(
        scene.signed_in_as(&mut bob).await?.is_some(),
        "bob's ended, too"
    );

    // Shown again, it does not end what began since.
    scene
        .sign_in(&mut alice, scene.claims("1", "alice")?)
        .await?;
    ensure!(
        back_channel(&scene.router, &token).await? == 400,
        "taken twice"
    );
    ensure!(scene.signed_in_as(&mut alice).await?.is_some(), "it ended");

    let by_session = changed(&changed(&good, "sub", Value::Null), "jti", json!("2"));
    let by_session = changed(&by_session, "sid", json!("session-of-2"));
    let token = scene.sign("issuer", typ, &by_session).await?;
    ensure!(back_channel(&scene.router, &token).await? == 200, "refused");
    is_over(&scene, &mut bob).await?;
    ensure!(
        scene.signed_in_as(&mut alice).await?.is_some(),
        "alice's ended, too"
    );
    sandbox.passed();
    Ok(())
}

async fn is_over(scene: &Scene, user: &mut User) -> Result<()> {
    eventually("the end of the session", async || {
        let signed_in = scene.signed_in_as(user).await?;
        ensure!(signed_in.is_none(), "{signed_in:?}");
        Ok(())
    })
    .await
}

async fn back_channel(router: &Router, token: &str) -> Result<u16> {
    let mut provider = router.user()?;
    let request = provider
        .request(Method::POST, &router.store("/sign-out/back-channel"))?
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(format!("logout_token={token}"));
    Ok(provider.send(request).await?.status().as_u16())
}
