//! Secrets of apps: what a router may do to them at all, by the policy and by its own rights, and from a terminal to the app that
//! reads them, with an operator that tells of them.

use anyhow::{Context, Result, ensure};
use crds::{Visibility, WaveApp};
use e2e::{ADMIN, Sandbox, condition, eventually, pack, wavestore};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

/// A Secret with these marks, and the value `hunter2`.
fn secret(name: &str, marks: Value, more: &Value) -> Result<Secret> {
    let mut metadata = marks;
    metadata["name"] = json!(name);
    let mut object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque",
        "data": { "password": "aHVudGVyMg==" },
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        object[field] = value.clone();
    }
    Ok(serde_json::from_value(object)?)
}

/// The marks of the store.
fn marks(scope: &str) -> Value {
    let mut annotations = json!({ "wavestore.io/owner": "alice" });
    if scope == "app" {
        annotations["wavestore.io/app"] = json!("hello");
    }
    json!({ "labels": { "wavestore.io/app-secret": scope }, "annotations": annotations })
}

/// The marks of the store, and others.
fn with(path: &str, value: Value) -> Value {
    let mut all = marks("private");
    if let Some(place) = all.pointer_mut(path) {
        *place = value;
    } else {
        all[path.trim_start_matches('/')] = value;
    }
    all
}

/// What a router is told that tries; nothing when it may.
fn words<T>(tried: Result<T, kube::Error>) -> String {
    tried
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default()
}

/// Secrets that no router may touch.
const KEPT: [&str; 8] = [
    "closed",
    "kubectl",
    "labelled",
    "annotated",
    "finalized",
    "owned",
    "typed",
    "immutable",
];

/// Makes the Secrets that no router may touch.
async fn keep(sandbox: &Sandbox) -> Result<()> {
    let admin = sandbox.api::<Secret>();
    // Of one that is not there it would be collected as garbage.
    let owner = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "owner" } });
    let maps = sandbox.api::<ConfigMap>();
    let owner: ConfigMap = serde_json::from_value(owner)?;
    let owner = maps.create(&PostParams::default(), &owner).await?;
    let uid = owner.metadata.uid;
    let owner = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid });
    let (label, name) = ("wavestore.io/app-secret", "wavestore.io/owner");
    let typed = json!({
        "type": "kubernetes.io/basic-auth",
        "data": { "username": "YQ==", "password": "aHVudGVyMg==" },
    });
    let plain = || json!({});
    let kept = [
        (json!({}), plain()),
        (json!({ "labels": { label: "true" } }), plain()),
        (
            with("/labels", json!({ label: "private", "team": "a" })),
            plain(),
        ),
        (
            with("/annotations", json!({ name: "alice", "a": "b" })),
            plain(),
        ),
        (with("/finalizers", json!(["example.com/mine"])), plain()),
        (with("/ownerReferences", json!([owner])), plain()),
        (marks("private"), typed),
        (marks("private"), json!({ "immutable": true })),
    ];
    for (name, (marks, more)) in KEPT.into_iter().zip(kept) {
        let kept = secret(name, marks, &more)?;
        admin.create(&PostParams::default(), &kept).await?;
    }
    Ok(())
}

/// What a router tries to make, and may not.
async fn makes_no_other(api: &Api<Secret>) -> Result<()> {
    let owner = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1" });
    let labels = |labels: Value| with("/labels", labels);
    let annotations = |annotations: Value| with("/annotations", annotations);
    let (label, name) = ("wavestore.io/app-secret", "wavestore.io/owner");
    let marked = [
        json!({}),
        json!({ "labels": { label: "true" } }),
        annotations(json!({ name: "" })),
        annotations(json!({ name: "alice", "kubernetes.io/service-account.name": "x" })),
        // Its scope names none.
        annotations(json!({ name: "alice", "wavestore.io/app": "x" })),
        labels(json!({ label: "all" })),
        labels(json!({ label: "private", "owner": "helm" })),
        with("/finalizers", json!(["example.com/mine"])),
        with("/ownerReferences", json!([owner])),
    ];
    let typed = [
        json!({ "type": "kubernetes.io/basic-auth", "data": { "username": "YQ==", "password": "YQ==" } }),
        json!({ "type": "helm.sh/release.v1" }),
        json!({ "immutable": true }),
    ];
    let marked = marked.map(|marks| ("new", marks, json!({})));
    let typed = typed.map(|more| ("new", marks("private"), more));
    let named = ["sh.helm.release.v1.hello.v1", "wavestore-admin"];
    let named = named.map(|name| (name, marks("private"), json!({})));
    for (name, marks, more) in marked.into_iter().chain(typed).chain(named) {
        let case = format!("{name}: {marks} {more}");
        let made = secret(name, marks, &more)?;
        let said = words(api.create(&PostParams::default(), &made).await);
        let is_own = said.contains("the store's own") && name != "new";
        ensure!(
            is_own || said.contains("a router may make no Secret"),
            "{case}: {said}"
        );
    }
    Ok(())
}

/// Nothing shows what is there, not even to who changes it.
async fn shows_none(api: &Api<Secret>, name: &str) -> Result<()> {
    let patch = json!({ "metadata": { "labels": { "wavestore.io/app-secret": "private" } } });
    let patch = Patch::Merge(patch);
    let (delete, list) = (DeleteParams::default(), ListParams::default());
    let asked = [
        ("get", words(api.get(name).await)),
        ("list", words(api.list(&list).await)),
        (
            "patch",
            words(api.patch(name, &PatchParams::default(), &patch).await),
        ),
        (
            "apply",
            words(api.patch(name, &PatchParams::apply("x"), &patch).await),
        ),
        ("metadata", words(api.get_metadata(name).await)),
        (
            "collection",
            words(api.delete_collection(&delete, &list).await),
        ),
    ];
    for (verb, said) in asked {
        ensure!(said.contains("forbidden"), "{verb}: {said:?}");
    }
    let other = json!({ "data": { "token": "eA==" } });
    let other = secret(name, marks("app"), &other)?;
    let answer = api.replace(name, &PostParams::default(), &other).await?;
    let keys: Vec<String> = answer
        .data
        .iter()
        .flatten()
        .map(|(key, _)| key.clone())
        .collect();
    ensure!(answer.data == other.data, "the answer has {keys:?}");
    Ok(())
}

/// What others have put marks on stays as it is.
async fn takes_over_none(api: &Api<Secret>, admin: &Api<Secret>) -> Result<()> {
    let params = PostParams::default();
    for name in KEPT {
        let before = admin.get(name).await?;
        let value = json!({ "data": { "password": "eA==" } });
        let mut taken = secret(name, marks("private"), &value)?;
        let replaced = words(api.replace(name, &params, &taken).await);
        // Kubernetes itself lets nobody change a type, and what is immutable.
        ensure!(
            replaced.contains("may change no Secret") || replaced.contains("immutable"),
            "{name}: {replaced}"
        );
        taken.metadata.resource_version = before.metadata.resource_version.clone();
        let replaced = words(api.replace(name, &params, &taken).await);
        ensure!(!replaced.is_empty(), "{name} is taken over");
        let deleted = words(api.delete(name, &DeleteParams::background()).await);
        ensure!(
            deleted.contains("may change no Secret"),
            "{name}: {deleted}"
        );
        ensure!(admin.get(name).await? == before, "{name} is another one");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_reads_no_secret_and_sets_those_of_apps_alone() -> Result<()> {
    let sandbox = Sandbox::create("router-secrets").await?;
    let client = sandbox.client_of("router").await?;
    let api: Api<Secret> = Api::namespaced(client.clone(), &sandbox.name);
    let admin = sandbox.api::<Secret>();
    keep(&sandbox).await?;
    // Policies come into force with a delay.
    let mut tries = 0;
    eventually("the policy to be in force", async || {
        tries += 1;
        let unmarked = secret(&format!("try-{tries}"), json!({}), &json!({}))?;
        let said = words(api.create(&PostParams::default(), &unmarked).await);
        ensure!(said.contains("may make no Secret"), "{said}");
        Ok(())
    })
    .await?;
    makes_no_other(&api).await?;
    let params = PostParams::default();
    for scope in ["private", "app", "true"] {
        let mine = secret(&format!("mine-{scope}"), marks(scope), &json!({}))?;
        api.create(&params, &mine).await?;
    }
    shows_none(&api, "mine-private").await?;
    let kept = admin.get("mine-private").await?.data.unwrap_or_default();
    ensure!(kept.keys().eq(["token"]), "{:?} are there", kept.keys());
    let maps: Api<ConfigMap> = Api::namespaced(client, &sandbox.name);
    for said in [
        words(maps.list(&ListParams::default()).await),
        words(maps.get("owner").await),
    ] {
        ensure!(said.contains("forbidden"), "it reads ConfigMaps: {said}");
    }
    takes_over_none(&api, &admin).await?;
    let unmarked = secret("mine-app", json!({}), &json!({}))?;
    let said = words(api.replace("mine-app", &params, &unmarked).await);
    ensure!(said.contains("may make no Secret"), "{said}");
    // The answers to these would have the values.
    let (foreground, orphan) = (DeleteParams::foreground(), DeleteParams::orphan());
    for params in [foreground, orphan, DeleteParams::default()] {
        let said = words(api.delete("mine-app", &params).await);
        ensure!(
            said.contains("in the background only"),
            "{params:?}: {said}"
        );
    }
    let deleted = api.delete("mine-app", &DeleteParams::background()).await?;
    ensure!(deleted.is_right(), "the answer is the Secret");
    ensure!(
        admin.get_opt("mine-app").await?.is_none(),
        "it is still there"
    );
    // Or its namespace would stay.
    let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    admin
        .patch("finalized", &PatchParams::default(), &patch)
        .await?;
    sandbox.passed();
    Ok(())
}

/// The bundle of an app that reads the key `password` of the Secret `database`.
fn reader(name: &str) -> Result<Vec<u8>> {
    let manifest = format!(
        "[App]\nName = \"{name}\"\nVersion = \"1.0.0\"\n\n[Runtime]\nModule = \"app\"\n\n\
         [[Env]]\nName = \"PASSWORD\"\nSecret = \"database\"\nSecretKey = \"password\"\n"
    );
    pack(&[("app.toml", manifest.as_bytes()), ("app.py", b"print()")])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_goes_from_a_terminal_to_the_apps_that_it_is_for() -> Result<()> {
    let sandbox = Sandbox::create("secrets").await?;
    let mut operator = sandbox.operator().start().await?;
    let router = sandbox.router().start().await?;
    let (url, token) = (router.store(""), router.token("secrets").await?);
    let run = async |args: &[&str]| {
        let output = wavestore(&url, &token, args).await?;
        ensure!(output.success, "{args:?}: {output:?}");
        Ok(output.stdout)
    };
    let file = sandbox.folder().join("database.env");
    std::fs::write(&file, "password=hunter2\nuser=bob\n")?;
    let file = file.to_str().context("a path")?;
    let apps = sandbox.api::<WaveApp>();
    let is_ready =
        async |name: &str| condition(&apps, name, "Ready", |ready| ready.status == "True").await;
    let refused = async |name: &str, words: &str| {
        condition(&apps, name, "Stalled", |stalled| {
            stalled.message.contains(words)
        })
        .await?;
        let runtime = apps
            .get(name)
            .await?
            .status
            .and_then(|status| status.runtime);
        ensure!(runtime.is_none(), "helm users could still run {name}");
        Ok(())
    };
    let set = ["secret", "set", "database", "--from-env-file", file];
    let shown = run(&set).await?;
    ensure!(
        shown.contains("password, user") && !shown.contains("hunter2"),
        "{shown}"
    );
    eventually("the secret to be listed", async || {
        let listed = run(&["secret", "list", "-o", "json"]).await?;
        let listed: Value = serde_json::from_str(&listed)?;
        let first = &listed[0];
        ensure!(
            first["name"] == "database" && first["owner"] == ADMIN && first["setAt"].is_string(),
            "{listed}"
        );
        Ok(())
    })
    .await?;
    for (name, owner) in [("own", ADMIN), ("others", "bob"), ("more", ADMIN)] {
        sandbox
            .submit(name, reader(name)?, owner, Visibility::Private)
            .await?;
    }
    is_ready("own").await?;
    is_ready("more").await?;
    refused("others", "private to the apps of another owner").await?;

    // Who reads it changes with its scope, at once.
    run(&[&set[..], &["--scope", "app=more"]].concat()).await?;
    // It stays so when only its values are set.
    let shown = run(&set).await?;
    ensure!(shown.contains("app=more"), "{shown}");
    is_ready("more").await?;
    refused("own", "is for another app").await?;
    refused("others", "is for another app").await?;
    let used = run(&["secret", "get", "database"]).await?;
    ensure!(
        used.contains("app=more") && used.contains("more:1.0.0"),
        "{used}"
    );
    let kept = wavestore(&url, &token, &["secret", "delete", "database"]).await?;
    ensure!(
        !kept.success && kept.stderr.contains("apps read the secret: more 1.0.0"),
        "{kept:?}"
    );
    run(&[&set[..], &["--scope", "all"]].concat()).await?;
    for name in ["own", "others", "more"] {
        is_ready(name).await?;
    }

    // What the operator tells routers has no value.
    let told = sandbox.api::<ConfigMap>().get(crds::SECRET_INDEX).await?;
    let told = serde_json::to_string(&told.data)?;
    ensure!(
        told.contains("AllUsers") && !told.contains("hunter2") && !told.contains("aHVudGVyMg"),
        "{told}"
    );
    let logs = router.log()? + &operator.log()?;
    ensure!(
        !logs.contains("hunter2") && !logs.contains("aHVudGVyMg"),
        "{logs}"
    );

    for name in ["own", "others", "more"] {
        apps.delete(name, &DeleteParams::default()).await?;
    }
    eventually("the secret to be read by none, and deleted", async || {
        let deleted = wavestore(&url, &token, &["secret", "delete", "database"]).await?;
        ensure!(deleted.success, "{deleted:?}");
        Ok(())
    })
    .await?;
    ensure!(
        sandbox.api::<Secret>().get_opt("database").await?.is_none(),
        "it is there"
    );
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}
