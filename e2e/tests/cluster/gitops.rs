//! GitOps: writers that apply, drop fields and prune, as Flux and Argo CD do, beside people who do otherwise.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use crds::{Visibility, WaveApp, WaveInstance};
use e2e::{Health, Published, Store, condition, health, helm, instance, kubectl, pack, run};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

const CHART: &str = "../config/wave-instance";
const SAMPLES: &str = "../config/samples";

/// The name under which Flux applies.
const FLUX: &str = "kustomize-controller";

fn manifest(store: &Store, name: &str, app: (&str, &str)) -> Value {
    json!({
        "apiVersion": "wavestore.io/v1alpha1",
        "kind": "WaveInstance",
        "metadata": { "name": name, "labels": {
            "kustomize.toolkit.fluxcd.io/name": "wave-instances",
            "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
        } },
        "spec": { "app": { "name": app.0, "version": app.1 }, "owner": store.admin },
    })
}

/// Applies as Flux does.
async fn flux_applies(store: &Store, manifest: &Value) -> Result<WaveInstance> {
    let name = manifest["metadata"]["name"].as_str().context("a name")?;
    let params = PatchParams::apply(FLUX).force();
    let api = store.api::<WaveInstance>();
    Ok(api.patch(name, &params, &Patch::Apply(manifest)).await?)
}

/// Waits until this generation is ready; answers the revision that made it so.
async fn carried(store: &Store, name: &str, generation: i64) -> Result<u32> {
    store.ready(name).await?;
    let object = store.api::<WaveInstance>().get(name).await?;
    ensure!(
        object.metadata.generation == Some(generation),
        "{name} is at generation {:?} instead of {generation}",
        object.metadata.generation
    );
    let release = object.status.and_then(|status| status.release);
    let release = release.context("no release")?;
    let values: Value =
        serde_json::from_str(&helm(&["get", "values", name, "--output", "json"]).await?)?;
    let spec = serde_json::to_value(&object.spec)?;
    for (key, wanted) in spec.as_object().context("a spec is an object")? {
        ensure!(
            values.get(key) == Some(wanted),
            "{key} is {wanted} in the spec, and {:?} in the release",
            values.get(key)
        );
    }
    Ok(release.revision)
}

/// Numbers of all revisions that Helm keeps.
async fn revisions(store: &Store, name: &str) -> Result<Vec<u32>> {
    let params = ListParams::default().labels(&format!("owner=helm,name={name}"));
    let mut found = Vec::new();
    for secret in store.api::<Secret>().list(&params).await? {
        let labels = secret.metadata.labels.unwrap_or_default();
        found.push(labels.get("version").context("a version")?.parse()?);
    }
    found.sort_unstable();
    Ok(found)
}

/// Publishes the sample app under another name and version.
async fn publish(store: &Store, resource: &str, app: (&str, &str)) -> Result<Published> {
    let folder = PathBuf::from("apps/hello");
    let read = |file: &str| std::fs::read_to_string(folder.join(file));
    let toml = read("app.toml")?
        .replace("Name = \"hello\"", &format!("Name = \"{}\"", app.0))
        .replace("Version = \"1.0.0\"", &format!("Version = \"{}\"", app.1));
    ensure!(toml.contains(app.0), "the sample's app.toml has changed");
    let bundle = pack(&[
        ("app.toml", toml.as_bytes()),
        ("app.py", read("app.py")?.as_bytes()),
        ("requirements.txt", read("requirements.txt")?.as_bytes()),
        ("README.md", read("README.md")?.as_bytes()),
    ])?;
    let published = store.submit(resource, bundle, Visibility::AllUsers).await?;
    let apps = store.api::<WaveApp>();
    condition(&apps, resource, "Ready", |ready| ready.status == "True").await?;
    Ok(published)
}

#[tokio::test(flavor = "multi_thread")]
async fn flux_creates_drops_a_field_adds_one_changes_the_version_and_prunes() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let (name, app) = ("e2e-gitops-flux", "e2e-gitops-flux");
    store.delete(name).await?;
    let first = publish(&store, "e2e-gitops-flux-1", (app, "1.0.0")).await?;
    let second = publish(&store, "e2e-gitops-flux-2", (app, "2.0.0")).await?;

    let mut manifest = manifest(&store, name, (app, "1.0.0"));
    manifest["spec"]["visibility"] = json!("AllUsers");
    flux_applies(&store, &manifest).await?;
    ensure!(carried(&store, name, 1).await? == 1, "created");

    let spec = manifest["spec"].as_object_mut().context("a spec")?;
    spec.remove("visibility");
    let object = flux_applies(&store, &manifest).await?;
    ensure!(
        object.spec.visibility == Visibility::Private,
        "a field that Git drops goes back to its default, and is {}",
        object.spec.visibility
    );
    ensure!(carried(&store, name, 2).await? == 2, "dropped");

    manifest["spec"]["visibility"] = json!("Public");
    flux_applies(&store, &manifest).await?;
    ensure!(carried(&store, name, 3).await? == 3, "added");

    manifest["metadata"]["annotations"] = json!({ "example.com/contact": "sales" });
    flux_applies(&store, &manifest).await?;
    ensure!(
        carried(&store, name, 3).await? == 3,
        "an annotation is no reason to run helm"
    );

    manifest["spec"]["app"]["version"] = json!("2.0.0");
    flux_applies(&store, &manifest).await?;
    ensure!(carried(&store, name, 4).await? == 4, "another version");
    let page = store.get(&store.host(name), "/").await?;
    ensure!(page.status() == 200, "its page answers {}", page.status());

    // Nobody has taken a field of Flux: it would not even need to force.
    let api = store.api::<WaveInstance>();
    let params = PatchParams::apply(FLUX);
    api.patch(name, &params, &Patch::Apply(&manifest)).await?;
    ensure!(carried(&store, name, 4).await? == 4, "applied again");

    api.delete(name, &DeleteParams::background()).await?;
    store.gone(name).await?;
    store.retract(&first).await?;
    store.retract(&second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn flux_applying_every_second_does_not_disturb_an_installation() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    store.publish("hello").await?;
    let name = "e2e-gitops-busy";
    store.delete(name).await?;
    let manifest = manifest(&store, name, ("hello", "1.0.0"));
    flux_applies(&store, &manifest).await?;
    let apply = async || -> Result<()> {
        let mut every_second = tokio::time::interval(Duration::from_secs(1));
        loop {
            every_second.tick().await;
            flux_applies(&store, &manifest).await?;
        }
    };
    tokio::select! {
        failed = apply() => return failed,
        ready = store.ready(name) => ready?,
    }
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..10 {
        every_second.tick().await;
        flux_applies(&store, &manifest).await?;
    }
    ensure!(
        carried(&store, name, 1).await? == 1,
        "one spec is one revision"
    );
    let made = revisions(&store, name).await?;
    ensure!(made == [1], "helm made the revisions {made:?}");
    store.delete(name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_flux_and_a_helm_user_wins() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    store.publish("hello").await?;
    let name = "e2e-gitops-last";
    store.delete(name).await?;
    let silent = manifest(&store, name, ("hello", "1.0.0"));
    let mut private = silent.clone();
    private["spec"]["visibility"] = json!("Private");
    flux_applies(&store, &private).await?;
    ensure!(carried(&store, name, 1).await? == 1, "made by Flux");

    let opens = async || -> Result<()> {
        let public = ["--reuse-values", "--set", "visibility=Public"];
        helm(&[&["upgrade", name, CHART], &public[..]].concat()).await?;
        Ok(())
    };
    let visibility = async || -> Result<Visibility> {
        let object = store.api::<WaveInstance>().get(name).await?;
        Ok(object.spec.visibility)
    };
    opens().await?;
    ensure!(carried(&store, name, 2).await? == 2, "opened by helm");
    ensure!(visibility().await? == Visibility::Public, "helm was last");

    flux_applies(&store, &private).await?;
    ensure!(carried(&store, name, 3).await? == 3, "closed by Flux");
    ensure!(visibility().await? == Visibility::Private, "Flux was last");

    // Of a field that Git does not name, Flux takes nothing back.
    flux_applies(&store, &silent).await?;
    opens().await?;
    flux_applies(&store, &silent).await?;
    ensure!(carried(&store, name, 4).await? == 4, "opened by helm again");
    ensure!(
        visibility().await? == Visibility::Public,
        "Git says nothing"
    );

    let history = helm(&["history", name, "--output", "json"]).await?;
    let history: Vec<Value> = serde_json::from_str(&history)?;
    ensure!(history.len() == 4, "both are in the history: {history:?}");
    store.delete(name).await
}

/// The object of a kind in a sample.
fn sample(file: &str, kind: &str) -> Result<Value> {
    let text = std::fs::read_to_string(format!("{SAMPLES}/{file}"))?;
    for document in text.split("\n---\n") {
        let object: Value = serde_saphyr::from_str(document)?;
        if object["kind"] == kind {
            return Ok(object);
        }
    }
    anyhow::bail!("there is no {kind} in {file}")
}

fn namespace() -> String {
    std::env::var("WAVESTORE_NAMESPACE").unwrap_or_else(|_| "wavestore".into())
}

/// Renders the chart as Argo CD does: without asking the cluster.
async fn rendered(name: &str, values: &Value) -> Result<String> {
    let namespace = namespace();
    let args = [
        "template",
        name,
        CHART,
        "--namespace",
        &namespace,
        "--values",
        "-",
    ];
    let output = run("helm", &args, Some(&values.to_string())).await?;
    ensure!(output.success, "{}", output.stderr);
    Ok(output.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_helm_template_renders_is_completed_by_the_operator() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    store.publish("hello").await?;
    let name = "e2e-gitops-template";
    store.delete(name).await?;
    let mut values =
        sample("argocd/chart.yaml", "Application")?["spec"]["source"]["helm"]["valuesObject"]
            .take();
    values["owner"] = json!(store.admin);
    let manifests = rendered(name, &values).await?;
    let kinds: Vec<&str> = manifests
        .lines()
        .filter_map(|line| line.strip_prefix("kind: "))
        .collect();
    ensure!(kinds == ["WaveInstance"], "the chart renders {kinds:?}");
    kubectl(&["apply", "-f", "-"], Some(&manifests)).await?;
    ensure!(carried(&store, name, 1).await? == 1, "completed");
    kubectl(&["apply", "-f", "-"], Some(&manifests)).await?;
    ensure!(carried(&store, name, 1).await? == 1, "applied again");

    values["visibility"] = json!("Public");
    let manifests = rendered(name, &values).await?;
    kubectl(&["apply", "-f", "-"], Some(&manifests)).await?;
    ensure!(carried(&store, name, 2).await? == 2, "changed in Git");
    kubectl(&["delete", "-f", "-"], Some(&manifests)).await?;
    store.gone(name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_set_prunes_what_it_no_longer_names() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    store.publish("hello").await?;
    let (stays, goes) = ("e2e-gitops-stays", "e2e-gitops-goes");
    store.delete(stays).await?;
    store.delete(goes).await?;
    let apply = async |names: &[&str]| -> Result<()> {
        let items: Vec<Value> = names
            .iter()
            .map(|name| manifest(&store, name, ("hello", "1.0.0")))
            .collect();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
        let namespace = namespace();
        let args = [
            "KUBECTL_APPLYSET=true",
            "kubectl",
            "--namespace",
            &namespace,
            "apply",
            "--server-side",
            "--prune",
            "--applyset=configmaps/e2e-gitops-set",
            "-f",
            "-",
        ];
        let output = run("env", &args, Some(&list)).await?;
        ensure!(output.success, "{}", output.stderr);
        Ok(())
    };
    apply(&[stays, goes]).await?;
    carried(&store, stays, 1).await?;
    carried(&store, goes, 1).await?;
    apply(&[stays]).await?;
    store.gone(goes).await?;
    ensure!(carried(&store, stays, 1).await? == 1, "the other one stays");
    store.delete(stays).await?;
    let set = ["delete", "configmap", "e2e-gitops-set"];
    kubectl(&set, None).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_samples_hold_objects_that_the_api_server_takes() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let hello = std::fs::read_to_string(format!("{SAMPLES}/hello.yaml"))?;
    let dry_run = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "-f",
        "-",
    ];
    kubectl(&dry_run, Some(&hello)).await?;
    let application = sample("argocd/chart.yaml", "Application")?;
    let release = sample("flux/chart.yaml", "HelmRelease")?;
    for values in [
        &application["spec"]["source"]["helm"]["valuesObject"],
        &release["spec"]["values"],
    ] {
        let manifests = rendered("e2e-gitops-sample", values).await?;
        kubectl(&dry_run, Some(&manifests)).await?;
    }
    let names = store.namespace.remains("e2e-gitops-sample").await?;
    ensure!(names.is_empty(), "a dry run leaves nothing: {names:?}");
    Ok(())
}

/// An object as the API server has it, made where no operator looks.
async fn unobserved(kind: &str, spec: Value) -> Result<Value> {
    let namespace = format!("e2e-gitops-unobserved-{}", kind.to_lowercase());
    let at = ["--namespace", &namespace];
    let delete = ["delete", "namespace", &namespace, "--ignore-not-found"];
    kubectl(&delete, None).await?;
    kubectl(&["create", "namespace", &namespace], None).await?;
    let object = json!({
        "apiVersion": "wavestore.io/v1alpha1", "kind": kind,
        "metadata": { "name": "sales" }, "spec": spec,
    });
    let create = [&at[..], &["create", "-f", "-"]].concat();
    let created = run("kubectl", &create, Some(&object.to_string())).await?;
    let get = [&at[..], &["get", kind, "sales", "-o", "json"]].concat();
    let got = run("kubectl", &get, None).await?;
    kubectl(&delete, None).await?;
    ensure!(created.success, "{}", created.stderr);
    ensure!(got.success, "{}", got.stderr);
    Ok(serde_json::from_str(&got.stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one row a case")]
async fn flux_and_argo_cd_see_how_apps_and_instances_are() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    store.publish("hello").await?;
    store.publish("docs-link").await?;
    let (ready, waiting, stalled) = (
        "e2e-gitops-ready",
        "e2e-gitops-waiting",
        "e2e-gitops-stalled",
    );
    for (name, app) in [
        (ready, "hello"),
        (waiting, "no-such-app"),
        (stalled, "wave-docs"),
    ] {
        store.delete(name).await?;
        let spec = instance(app, &store.admin, Visibility::Private);
        store.apply(name, spec).await?;
    }
    let bad = store
        .submit(
            "e2e-gitops-bad",
            b"no archive".to_vec(),
            Visibility::Private,
        )
        .await?;
    let instances = store.api::<WaveInstance>();
    let apps = store.api::<WaveApp>();
    store.ready(ready).await?;
    condition(&instances, waiting, "Reconciling", |_| true).await?;
    condition(&instances, stalled, "Stalled", |_| true).await?;
    condition(&apps, "e2e-gitops-bad", "Stalled", |_| true).await?;

    let instance_as_seen = async |name: &str| -> Result<Value> {
        Ok(serde_json::to_value(instances.get(name).await?)?)
    };
    let edited = |mut object: Value| {
        let generation = object["metadata"]["generation"]
            .as_i64()
            .unwrap_or_default();
        object["metadata"]["generation"] = json!(generation + 1);
        object
    };
    let spec = json!({ "app": { "name": "hello", "version": "1.0.0" }, "owner": "alice" });
    let source =
        json!({ "bundle": { "configMapRef": { "name": "no", "key": "no" } }, "owner": "alice" });
    let hello = serde_json::to_value(apps.get("hello").await?)?;
    let cases = [
        (
            "a new instance",
            unobserved("WaveInstance", spec).await?,
            "InProgress",
            "Progressing",
        ),
        (
            "waits for its app",
            instance_as_seen(waiting).await?,
            "InProgress",
            "Progressing",
        ),
        (
            "is usable",
            instance_as_seen(ready).await?,
            "Current",
            "Healthy",
        ),
        (
            "was usable before an edit",
            edited(instance_as_seen(ready).await?),
            "InProgress",
            "Progressing",
        ),
        (
            "cannot be run",
            instance_as_seen(stalled).await?,
            "Failed",
            "Degraded",
        ),
        (
            "could not be run before an edit",
            edited(instance_as_seen(stalled).await?),
            "InProgress",
            "Progressing",
        ),
        (
            "a new app",
            unobserved("WaveApp", source).await?,
            "InProgress",
            "Progressing",
        ),
        ("an imported app", hello.clone(), "Current", "Healthy"),
        ("an edited app", edited(hello), "InProgress", "Progressing"),
        (
            "a bad bundle",
            serde_json::to_value(apps.get("e2e-gitops-bad").await?)?,
            "Failed",
            "Degraded",
        ),
    ];
    let objects: Vec<Value> = cases.iter().map(|case| case.1.clone()).collect();
    let verdicts = health(&objects).await?;
    ensure!(verdicts.len() == cases.len(), "a verdict for each object");
    for ((what, object, flux, argo), seen) in cases.iter().zip(&verdicts) {
        let wanted = Health {
            flux: (*flux).to_owned(),
            argo: (*argo).to_owned(),
            message: seen.message.clone(),
        };
        ensure!(
            *seen == wanted,
            "{what}: {seen:?} instead of {flux}, {argo}: {object}"
        );
        ensure!(!seen.message.is_empty(), "{what}: Argo CD shows no message");
    }
    for name in [ready, waiting, stalled] {
        store.delete(name).await?;
    }
    store.retract(&bad).await
}
