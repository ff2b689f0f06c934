//! People and their accounts, in a browser.

use anyhow::{Result, ensure};
use e2e::{ADMIN, ADMIN_PASSWORD, Browser, Router, Sandbox, eventually};
use fantoccini::Locator;

const PASSWORD: &str = "battery staple 12";

/// Opens a page of the store, and signs in where that is asked.
async fn sign_in(browser: &Browser, router: &Router, name: &str, password: &str) -> Result<()> {
    browser.page.goto(&router.store("/account")).await?;
    fill(browser, &[("name", name), ("password", password)]).await?;
    browser.clicks("form[action='/sign-in'] button").await?;
    browser.sees("Your account").await
}

async fn fill(browser: &Browser, fields: &[(&str, &str)]) -> Result<()> {
    for (name, value) in fields {
        let css = format!("input[name='{name}']:not([type=hidden])");
        let field = browser.page.wait().for_element(Locator::Css(&css)).await?;
        field.send_keys(value).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_made_taken_over_and_disabled() -> Result<()> {
    let sandbox = Sandbox::create("accounts").await?;
    let router = sandbox.router().start().await?;
    let admin = Browser::start().await?;
    sign_in(&admin, &router, ADMIN, ADMIN_PASSWORD).await?;
    admin.clicks("a[href='/accounts']").await?;
    fill(&admin, &[("name", "carol")]).await?;
    admin.clicks("form[action='/accounts'] button").await?;
    let once = admin.reads("#one-time-password").await?;
    admin.screenshot("accounts").await?;

    let carol = Browser::start().await?;
    sign_in(&carol, &router, "carol", &once).await?;
    carol.sees("was given to you by an admin").await?;
    fill(&carol, &[("current", once.as_str()), ("new", PASSWORD)]).await?;
    carol
        .clicks("form[action='/account/password'] button")
        .await?;
    carol.sees("Your password is changed.").await?;
    carol.screenshot("account").await?;

    // Somewhere else she ends the session of this browser.
    let elsewhere = Browser::start().await?;
    sign_in(&elsewhere, &router, "carol", PASSWORD).await?;
    elsewhere
        .clicks("form[action='/account/sessions/end'] button")
        .await?;
    elsewhere.sees("The session has ended.").await?;
    let is_out = async |browser: &Browser| {
        browser.page.goto(&router.store("/account")).await?;
        let at = browser.page.current_url().await?;
        ensure!(at.path() == "/sign-in", "at {at}");
        Ok(())
    };
    eventually("the ended session to be out", async || is_out(&carol).await).await?;

    admin
        .clicks("form[action='/accounts/disable'] button[aria-label='Disable carol']")
        .await?;
    admin.sees("The account is disabled").await?;
    eventually("the disabled account to be out", async || {
        is_out(&elsewhere).await
    })
    .await?;
    for browser in [admin, carol, elsewhere] {
        browser.close().await?;
    }
    sandbox.passed();
    Ok(())
}
