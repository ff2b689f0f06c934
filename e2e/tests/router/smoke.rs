//! A router starts, lets in who belongs, follows the API server, and ends.

use anyhow::{Context, Result, ensure};
use crds::Visibility;
use e2e::{ADMIN, Fake, FakeApp, Reached, Sandbox, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_router_serves_an_instance_to_its_owner_and_ends_well() -> Result<()> {
    let sandbox = Sandbox::create("smoke").await?;
    let app = FakeApp::start().await?;
    sandbox
        .fake(&Fake::new("sales", ADMIN, app.address()))
        .await?;
    let mut router = sandbox.router().start().await?;

    let mut stranger = router.user()?;
    let page = stranger.visit(&router.instance("sales", "/")).await?;
    ensure!(page.url().path() == "/sign-in", "{}", page.url());
    ensure!(app.reached().is_empty(), "a stranger reached the app");

    let mut admin = router.admin().await?;
    let page = admin.visit(&router.instance("sales", "/deep?a=b")).await?;
    let reached: Reached = page.json().await?;
    ensure!(reached.path == "/deep?a=b", "{}", reached.path);
    ensure!(reached.header("cookie").is_none(), "our cookie reached it");

    // What the API server says counts, without a restart.
    let shared = Fake {
        visibility: Visibility::Public,
        ..Fake::new("sales", "somebody-else", app.address())
    };
    sandbox.fake(&shared).await?;
    eventually("the instance to be public", async || {
        let answer = stranger.open(&router.instance("sales", "/")).await?;
        ensure!(answer.status() == 200, "{}", answer.status());
        Ok(())
    })
    .await?;

    router.terminate().await?;
    router.restart().await?;
    let again = admin.open(&router.store("/")).await?;
    let page = again.text().await?;
    ensure!(page.contains("Signed in as"), "the session is lost: {page}");
    let log = router.log()?;
    log.find(" Stopping: ").context("it said nothing")?;
    sandbox.passed();
    Ok(())
}
