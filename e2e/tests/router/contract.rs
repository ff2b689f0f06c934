//! The API's description, played against a router by schemathesis: whatever it allows is taken, whatever it does not allow is refused
//! with a problem, and every answer is as described.

use anyhow::{Context, Result, ensure};
use e2e::{ADMIN, Fake, FakeApp, Sandbox, eventually, run};
use reqwest::Method;

/// What each address is asked at most, and how long all of it may take.
const EXAMPLES: &str = "--max-examples=25";
const SECONDS: &str = "--max-time=100";

/// What a request may be answered that is as described: there may be no such thing, it may have another state, or its content may not
/// fit what there is. Places in lists are the store's own words.
const ANSWERS: &str = r#"
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "403", "404", "409", "412", "422"]

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "412", "415", "422"]

# Things that are there.
[[operations]]
include-name = ["GET /api/v1/instances/{name}", "PATCH /api/v1/instances/{name}", "GET /api/v1/instances/{name}/logs"]
parameters = { "path.name" = "sales" }

[[operations]]
include-name = ["GET /api/v1/apps/{name}", "PATCH /api/v1/apps/{name}", "GET /api/v1/apps/{name}/bundle"]
parameters = { "path.name" = "fake-python-domain" }

[[operations]]
include-name = "GET /api/v1/apps"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400"]

[[operations]]
include-name = "GET /api/v1/aliases"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_as_it_says() -> Result<()> {
    let tool = std::env::var("SCHEMATHESIS").context("`make test-router` says where it is")?;
    let sandbox = Sandbox::create("contract").await?;
    let app = FakeApp::start().await?;
    for name in ["sales", "hello"] {
        sandbox.fake(&Fake::new(name, ADMIN, app.address())).await?;
    }
    let router = sandbox.router().flag("--api-requests-per-minute=0");
    let router = router.start().await?;
    let token = router.token("contract").await?;
    let user = router.user()?;
    let list = router.store("/api/v1/instances");
    eventually("the instances", async || {
        let list = user.request(Method::GET, &list)?.bearer_auth(&token);
        let list = list.send().await?.text().await?;
        ensure!(list.contains("sales") && list.contains("hello"), "{list}");
        Ok(())
    })
    .await?;
    let description = router.store("/api/v1/openapi.json");
    let settings = sandbox.folder().join("schemathesis.toml");
    let authorization = format!("headers = {{ Authorization = \"Bearer {token}\" }}\n");
    std::fs::write(&settings, authorization + ANSWERS)?;
    let arguments = [
        "--config-file",
        settings.to_str().context("a path")?,
        "run",
        &description,
        "--checks=all",
        EXAMPLES,
        SECONDS,
        "--continue-on-failure",
        "--generation-database=none",
        "--no-color",
    ];
    let played = run(&tool, &arguments, None).await?;
    ensure!(played.success, "{}\n{}", played.stdout, played.stderr);
    let log = router.log()?;
    ensure!(!log.contains("ERROR"), "{log}");
    sandbox.passed();
    Ok(())
}
