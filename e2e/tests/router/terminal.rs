//! Apps, instances and aliases from a terminal: the real `wavestore` against a router, with an operator that imports.

use anyhow::{Context, Result, ensure};
use crds::{WaveAlias, WaveApp};
use e2e::{ADMIN, Fake, FakeApp, Output, Sandbox, condition, eventually, pack, wavestore};
use serde_json::Value;

fn json(output: &Output) -> Result<Value> {
    ensure!(output.success, "{output:?}");
    Ok(serde_json::from_str(&output.stdout)?)
}

/// Whether the app `Greeter` is found by what it is alone.
async fn filter(url: &str, token: &str) -> Result<()> {
    let run = async |args: &[&str]| wavestore(url, token, args).await;
    let nothing = json(&run(&["app", "list", "no-such-word", "-o", "json"]).await?)?;
    ensure!(nothing == serde_json::json!([]), "{nothing}");
    for (filters, found) in [
        (
            [
                "--owner",
                ADMIN,
                "--lifecycle",
                "on-demand",
                "--tag",
                "greetings",
            ],
            1,
        ),
        (
            [
                "--owner",
                ADMIN,
                "--lifecycle",
                "link",
                "--tag",
                "greetings",
            ],
            0,
        ),
        (
            [
                "--owner",
                ADMIN,
                "--lifecycle",
                "on-demand",
                "--tag",
                "greeting",
            ],
            0,
        ),
        (
            [
                "--owner",
                "bob",
                "--lifecycle",
                "on-demand",
                "--tag",
                "greetings",
            ],
            0,
        ),
    ] {
        let arguments = [&["app", "list", "-o", "json"][..], &filters].concat();
        let listed = json(&run(&arguments).await?)?;
        ensure!(
            listed.as_array().map(Vec::len) == Some(found),
            "{filters:?}: {listed}"
        );
    }
    Ok(())
}

/// Tags from a terminal, and those of the app `Greeter`.
async fn look_after_tags(url: &str, token: &str) -> Result<()> {
    let run = async |args: &[&str]| wavestore(url, token, args).await;
    for (args, expected) in [
        (
            &["tag", "set", "greetings", "--title", "Greetings"][..],
            "Greetings",
        ),
        (
            &["tag", "set", "greetings", "--admin-role", "lead"],
            "Greetings",
        ),
        (
            &["tag", "set", "greetings", "--admin-role", ""],
            "\"adminRoles\": []",
        ),
        (&["tag", "get", "greetings"], "\"color\": \"#"),
        (&["tag", "list"], "greetings"),
        (
            &["app", "update", "Greeter:1.0.0", "--tag", "warm"],
            "\"warm\"",
        ),
        (
            &["app", "update", "Greeter:1.0.0", "--tag", ""],
            "\"greetings\"\n",
        ),
    ] {
        let said = run(&[args, &["-o", "json"]].concat()).await?;
        ensure!(
            said.success && said.stdout.contains(expected),
            "{args:?}: {said:?}"
        );
    }
    let bad = run(&["tag", "set", "greetings", "--color", "red"]).await?;
    ensure!(
        !bad.success && bad.stderr.contains("six hexadecimal digits"),
        "{bad:?}"
    );
    let deleted = run(&["tag", "delete", "greetings"]).await?;
    ensure!(deleted.success, "{deleted:?}");
    like_and_pin(url, token).await
}

/// Likes and pins of the app `Greeter`, and what the audit trail says of what was done before.
async fn like_and_pin(url: &str, token: &str) -> Result<()> {
    let run = async |args: &[&str]| wavestore(url, token, args).await;
    for (verb, expected) in [
        ("like", "You like it"),
        ("pin", "You like it and have pinned it"),
        ("unlike", "You have pinned it"),
    ] {
        let said = run(&["app", verb, "Greeter"]).await?;
        ensure!(
            said.success && said.stderr.trim().ends_with(expected),
            "{verb}: {said:?}"
        );
    }
    let listed = json(&run(&["app", "list", "greeter", "-o", "json"]).await?)?;
    ensure!(
        listed[0]["pinned"] == true && listed[0]["likes"] == 0,
        "{listed}"
    );
    let unknown = run(&["app", "like", "Nothing"]).await?;
    ensure!(!unknown.success, "{unknown:?}");

    let filter = ["--thing", "app", "--name", "greeter-1.0.0"];
    let done = json(&run(&[&["audit", "-o", "json"][..], &filter].concat()).await?)?;
    let done: Vec<&str> = done
        .as_array()
        .context("a list")?
        .iter()
        .filter_map(|deed| deed["done"].as_str())
        .collect();
    let [.., published] = done[..] else {
        anyhow::bail!("nothing was done");
    };
    ensure!(published.starts_with("published Greeter 1.0.0"), "{done:?}");
    ensure!(done.len() > 1, "{done:?}");
    Ok(())
}

/// A deletion of the instance `sales` that is undone.
async fn keep(url: &str, token: &str) -> Result<()> {
    let run = async |args: &[&str]| wavestore(url, token, args).await;
    let mark = "will be deleted at 20";
    for (args, is_marked) in [
        (
            &["instance", "delete", "sales", "--undo-within", "1h"][..],
            true,
        ),
        (&["instance", "get", "sales"], true),
        (&["instance", "keep", "sales"], false),
        (&["instance", "get", "sales"], false),
    ] {
        let said = run(args).await?;
        ensure!(
            said.success && said.stdout.contains(mark) == is_marked,
            "{args:?}: {said:?}"
        );
    }
    for time in ["0s", "2y"] {
        let bad = run(&["instance", "delete", "sales", "--undo-within", time]).await?;
        ensure!(!bad.success, "{time}: {bad:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_looks_after_apps_and_aliases_from_a_terminal() -> Result<()> {
    let sandbox = Sandbox::create("terminal").await?;
    let mut operator = sandbox.operator().start().await?;
    let app = FakeApp::start().await?;
    sandbox
        .fake(&Fake::new("sales", ADMIN, app.address()))
        .await?;
    let router = sandbox.router().start().await?;
    let (url, token) = (router.store(""), router.token("terminal").await?);
    let run = async |args: &[&str]| wavestore(&url, &token, args).await;

    let manifest = "[App]\nName = \"Greeter\"\nVersion = \"1.0.0\"\nTitle = \"A greeter\"\nTags = [\"greetings\"]\n\n[Runtime]\nModule = \"app\"\n";
    let bundle = pack(&[("app.toml", manifest.as_bytes()), ("app.py", b"print()")])?;
    let file = sandbox.folder().join("greeter.wave");
    std::fs::write(&file, &bundle)?;
    let path = file.to_str().context("a path")?;
    let deployed = json(&run(&["bundle", "deploy", path, "-o", "json"]).await?)?;
    ensure!(deployed["name"] == "greeter-1.0.0", "{deployed}");
    let listed = json(&run(&["app", "list", "greeter", "-o", "json"]).await?)?;
    ensure!(listed[0]["app"]["name"] == "Greeter", "{listed}");
    filter(&url, &token).await?;
    let table = run(&["app", "get", "Greeter"]).await?;
    ensure!(
        table.success && table.stdout.contains("greeter-1.0.0"),
        "{table:?}"
    );
    let yaml = run(&["app", "get", "Greeter:1.0.0", "-o", "yaml"]).await?;
    ensure!(
        yaml.success && yaml.stdout.contains("state: Ready"),
        "{yaml:?}"
    );
    let unknown = run(&["app", "get", "Greeter:9.9.9"]).await?;
    ensure!(
        !unknown.success && unknown.stderr.contains("there is no app `Greeter:9.9.9`"),
        "{unknown:?}"
    );

    let update = ["app", "update", "Greeter:1.0.0", "--visibility", "public"];
    let updated = run(&update).await?;
    ensure!(
        updated.success && updated.stdout.contains("Public"),
        "{updated:?}"
    );
    let apps = sandbox.api::<WaveApp>();
    condition(&apps, "greeter-1.0.0", "Ready", |ready| {
        ready.status == "True"
    })
    .await?;
    eventually("the catalog to know it", async || {
        let listed = json(&run(&["app", "list", "greeter", "-o", "json"]).await?)?;
        ensure!(listed[0]["visibility"] == "Public", "{listed}");
        Ok(())
    })
    .await?;
    let copy = sandbox.folder().join("copy.wave");
    let into = copy.to_str().context("a path")?;
    let downloaded = run(&["app", "download", "greeter-1.0.0", "-f", into]).await?;
    ensure!(downloaded.success, "{downloaded:?}");
    ensure!(std::fs::read(&copy)? == bundle, "another bundle came back");

    look_after_tags(&url, &token).await?;
    let set = run(&["alias", "set", "crm", "sales", "--primary", "-o", "json"]).await?;
    let set = json(&set)?;
    ensure!(set["instance"] == "sales", "{set}");
    let aliases = sandbox.api::<WaveAlias>();
    condition(&aliases, "crm", "Ready", |ready| ready.status == "True").await?;
    let table = run(&["alias", "list"]).await?;
    ensure!(table.success && table.stdout.contains("crm"), "{table:?}");
    let deleted = run(&["alias", "delete", "crm"]).await?;
    ensure!(deleted.success, "{deleted:?}");
    eventually("no alias", async || {
        let left = aliases.get_opt("crm").await?;
        ensure!(left.is_none(), "{left:?}");
        Ok(())
    })
    .await?;

    let status = run(&["instance", "status", "sales", "--no-wait"]).await?;
    ensure!(
        status.success && status.stdout.contains("sales: "),
        "{status:?}"
    );
    let opened = run(&["instance", "open", "sales", "--no-browser"]).await?;
    ensure!(
        opened.stdout.trim() == router.instance("sales", "/"),
        "{opened:?}"
    );
    let logs = run(&["instance", "logs", "sales"]).await?;
    ensure!(
        !logs.success && logs.stderr.contains("the instance has no log"),
        "{logs:?}"
    );

    keep(&url, &token).await?;
    let deleted = run(&["app", "delete", "Greeter:1.0.0"]).await?;
    ensure!(deleted.success, "{deleted:?}");
    eventually("no app", async || {
        let left = apps.get_opt("greeter-1.0.0").await?;
        ensure!(left.is_none(), "{left:?}");
        Ok(())
    })
    .await?;
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_kubeconfig_alone_looks_after_apps_and_instances() -> Result<()> {
    let sandbox = Sandbox::create("kubeconfig").await?;
    let mut operator = sandbox.operator().start().await?;
    sandbox.publish("hello", "alice").await?;
    // Nobody is there to answer, and nobody knows the token.
    let run = async |args: &[&str]| {
        let args = [&["--kube", "--namespace", &sandbox.name][..], args].concat();
        wavestore("http://127.0.0.1:9", "none", &args).await
    };
    let listed = json(&run(&["app", "list", "hello", "-o", "json"]).await?)?;
    ensure!(listed[0]["app"]["version"] == "1.0.0", "{listed}");
    let update = ["app", "update", "hello:1.0.0", "--visibility", "public"];
    let updated = run(&[&update[..], &["-o", "json"]].concat()).await?;
    ensure!(json(&updated)?["visibility"] == "Public", "{updated:?}");

    let start = ["instance", "run", "hello:1.0.0", "--no-wait"];
    let nobody = run(&start).await?;
    ensure!(
        !nobody.success && nobody.stderr.contains("--owner"),
        "{nobody:?}"
    );
    let made = json(&run(&[&start[..], &["--owner", "bob", "-o", "json"]].concat()).await?)?;
    let name = made["name"].as_str().context("a name")?;
    ensure!(
        name.starts_with("hello-") && made["owner"] == "bob",
        "{made}"
    );
    let change = async |args: &[&str], field: &str, expected: Value| {
        let changed = json(&run(&[args, &["-o", "json"]].concat()).await?)?;
        ensure!(changed[field] == expected, "{args:?}: {changed}");
        Ok(())
    };
    change(&["instance", "suspend", name], "state", "Suspended".into()).await?;
    change(&["instance", "resume", name], "suspended", false.into()).await?;
    let share = ["instance", "share", name, "all-users"];
    change(&share, "visibility", "AllUsers".into()).await?;
    eventually("what the operator says of it", async || {
        let status = run(&["instance", "status", name, "--no-wait"]).await?;
        ensure!(
            status.success && status.stdout.contains(&format!("{name}.")),
            "{status:?}"
        );
        Ok(())
    })
    .await?;
    let delete = ["instance", "delete", name, "--undo-within", "1h"];
    let delete = json(&run(&[&delete[..], &["-o", "json"]].concat()).await?)?;
    ensure!(delete["deleteAfter"].is_string(), "{delete}");
    change(&["instance", "keep", name], "deleteAfter", Value::Null).await?;
    let logs = run(&["instance", "logs", name]).await?;
    ensure!(
        !logs.success && logs.stderr.contains("has no pod"),
        "{logs:?}"
    );
    let table = run(&["instance", "list"]).await?;
    ensure!(table.success && table.stdout.contains(name), "{table:?}");
    let deleted = run(&["instance", "delete", name]).await?;
    ensure!(deleted.success, "{deleted:?}");
    sandbox.nothing_left(name).await?;
    let unknown = run(&["instance", "get", name]).await?;
    ensure!(
        !unknown.success && unknown.stderr.contains("--namespace"),
        "{unknown:?}"
    );
    let liked = run(&["app", "like", "hello"]).await?;
    ensure!(
        !liked.success && liked.stderr.contains("without --kube"),
        "{liked:?}"
    );
    let deleted = run(&["app", "delete", "hello:1.0.0"]).await?;
    ensure!(deleted.success, "{deleted:?}");
    let apps = sandbox.api::<WaveApp>();
    eventually("no app", async || {
        let left = apps.get_opt("hello").await?;
        ensure!(left.is_none(), "{left:?}");
        Ok(())
    })
    .await?;
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}
