//! The API's description, played against a router by schemathesis: whatever it allows is taken, whatever it does not allow is refused
//! with a problem, and every answer is as described.

use anyhow::{Context, Result, ensure};
use e2e::{ADMIN, Fake, FakeApp, Sandbox, eventually, run};
use reqwest::Method;

/// How many requests each address gets in each phase, and where they begin: the same ones in every run, so that a red run is red again.
/// `CONTRACT_EXAMPLES` and `CONTRACT_SEED` look further.
const EXAMPLES: &str = "25";
const SEED: &str = "1";

/// What a request may be answered that is as described: there may be no such thing, it may have another state, or its content may not
/// fit what there is. Places in lists are the store's own words.
const ANSWERS: &str = r#"
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "403", "404", "409", "412", "422"]

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "412", "415", "422"]

[[operations]]
include-name = ["GET /api/v1/apps", "GET /api/v1/aliases"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "400"]

# Nobody is to saw off the branch that all of this sits on.
[[operations]]
include-name = ["DELETE /api/v1/tokens/{name}"]
parameters = { "path.name" = "0000000000000000000000000000000000000000000000000000000000000000" }

[[operations]]
include-name = ["PATCH /api/v1/accounts/{name}", "POST /api/v1/accounts/{name}/password"]
parameters = { "path.name" = "carol" }

# So many devices nobody has; and their codes are the store's own words.
[[operations]]
include-name = ["POST /api/v1/devices", "POST /api/v1/devices/token"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "429"]
checks.negative_data_rejection.expected-statuses = ["400", "404", "405", "415", "429"]
"#;

/// Things that are there, for requests that stand alone; those that follow from each other name what they have made.
const THERE: &str = r#"
[[operations]]
include-name = ["GET /api/v1/instances/{name}", "PATCH /api/v1/instances/{name}", "GET /api/v1/instances/{name}/logs"]
parameters = { "path.name" = "sales" }

[[operations]]
include-name = ["GET /api/v1/secrets/{name}", "PUT /api/v1/secrets/{name}"]
parameters = { "path.name" = "database" }

[[operations]]
include-name = ["GET /api/v1/tags/{name}", "PUT /api/v1/tags/{name}"]
parameters = { "path.name" = "finance" }

[[operations]]
include-name = ["GET /api/v1/apps/{name}", "PATCH /api/v1/apps/{name}", "GET /api/v1/apps/{name}/bundle"]
parameters = { "path.name" = "fake-python-domain" }
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
    let tag = user.request(Method::PUT, &router.store("/api/v1/tags/finance"))?;
    let tag = tag.bearer_auth(&token).json(&serde_json::json!({}));
    ensure!(tag.send().await?.status() == 201, "no tag is made");
    let carol = serde_json::json!({ "name": "carol", "role": "full" });
    let account = user.request(Method::POST, &router.store("/api/v1/accounts"))?;
    let account = account.bearer_auth(&token).json(&carol);
    ensure!(account.send().await?.status() == 201, "no account is made");
    let _told = sandbox.tell_of_secrets();
    let secret = user.request(Method::PUT, &router.store("/api/v1/secrets/database"))?;
    let secret = secret.bearer_auth(&token).json(&serde_json::json!({}));
    ensure!(secret.send().await?.status() == 201, "no secret is made");
    let description = router.store("/api/v1/openapi.json");
    let authorization = format!("headers = {{ Authorization = \"Bearer {token}\" }}\n");
    for (phases, settings) in [
        ("coverage,fuzzing", [ANSWERS, THERE].concat()),
        ("stateful", ANSWERS.to_owned()),
    ] {
        let file = sandbox.folder().join("schemathesis.toml");
        std::fs::write(&file, authorization.clone() + &settings)?;
        let arguments = [
            "--config-file",
            file.to_str().context("a path")?,
            "run",
            &description,
            "--checks=all",
            &format!("--phases={phases}"),
            &format!("--max-examples={}", var("CONTRACT_EXAMPLES", EXAMPLES)),
            &format!("--seed={}", var("CONTRACT_SEED", SEED)),
            "--continue-on-failure",
            "--generation-database=none",
            "--no-color",
        ];
        let played = run(&tool, &arguments, None).await?;
        ensure!(played.success, "{}\n{}", played.stdout, played.stderr);
    }
    let log = router.log()?;
    ensure!(!log.contains("ERROR"), "{log}");
    sandbox.passed();
    Ok(())
}

/// What the environment says, or else what is usual.
fn var(name: &str, usual: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| usual.to_owned())
}
