//! What the programs say when something that they need is not there: one error that names it, and exit code 1.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use crds::{Visibility, WaveApp, WaveInstance};
use e2e::{PATIENCE, Store, condition, eventually, instance, migrate, run};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Namespace},
};
use kube::{
    Api,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::process::{Child, Command};

/// A program as `make build` made it, beside the tests' own.
fn program(name: &str) -> Result<PathBuf> {
    let tests = std::env::current_exe()?;
    let folder = tests
        .parent()
        .and_then(|deps| deps.parent())
        .context("tests are in target/debug/deps")?;
    Ok(folder.join(name))
}

/// Settings with which a program would start; each case breaks one of them.
struct Settings {
    folder: tempfile::TempDir,
    flags: Vec<(&'static str, String)>,
}

impl Settings {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name).display().to_string();
        std::fs::create_dir(at("blobs"))?;
        std::fs::write(at("password"), "correct horse battery staple")?;
        let flags = vec![
            ("--database-url", format!("sqlite://{}", at("catalog.db"))),
            ("--blobs", format!("file://{}", at("blobs"))),
        ];
        Ok(Self { folder, flags })
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn with(mut self, flag: &'static str, value: impl Into<String>) -> Self {
        self.flags.retain(|(known, _)| *known != flag);
        self.flags.push((flag, value.into()));
        self
    }

    fn router(self) -> Self {
        let password = self.path("password");
        self.with("--listen", "127.0.0.1:0")
            .with("--internal-listen", "127.0.0.1:0")
            .with("--admin-password-file", password)
    }

    fn operator(self) -> Self {
        let chart = "../config/wave-instance";
        self.with("--chart", chart)
            .with("--health-port", "18099")
            .with("--instance-image", "none:0")
    }

    /// Runs to the end; returns what was said on standard error.
    async fn fails(&self, name: &str) -> Result<String> {
        let mut args = Vec::new();
        for (flag, value) in &self.flags {
            args.extend([*flag, value.as_str()]);
        }
        let program = program(name)?.display().to_string();
        let output = run(&program, &args, None).await?;
        ensure!(!output.success, "{name} {args:?} did not fail");
        Ok(format!("{}{}", output.stdout, output.stderr))
    }

    fn start(&self, name: &str) -> Result<Child> {
        let mut command = Command::new(program(name)?);
        for (flag, value) in &self.flags {
            command.args([flag, value.as_str()]);
        }
        Ok(command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_router_names_what_it_lacks() -> Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.to_string();
    let cases = [
        (
            "--database-url",
            "sqlite:///no/such/folder/catalog.db".to_owned(),
            "/no/such/folder",
        ),
        (
            "--database-url",
            "postgres://wavestore@127.0.0.1:1/catalog".to_owned(),
            "127.0.0.1",
        ),
        (
            "--blobs",
            "file:///no/such/folder".to_owned(),
            "/no/such/folder",
        ),
        (
            "--admin-password-file",
            "/no/such/file".to_owned(),
            "/no/such/file",
        ),
        ("--listen", port.clone(), port.as_str()),
        ("--internal-listen", port.clone(), port.as_str()),
    ];
    for (flag, value, words) in cases {
        let said = Settings::new()?
            .router()
            .with(flag, value.clone())
            .fails("wavestore-router")
            .await?;
        ensure!(
            said.contains(words),
            "{flag} {value}: it does not name `{words}`: {said}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_names_what_it_lacks() -> Result<()> {
    let cases = [
        ("--helm", "/no/such/helm", "/no/such/helm"),
        ("--chart", "/no/such/chart", "/no/such/chart"),
        (
            "--database-url",
            "sqlite:///no/such/folder/catalog.db",
            "/no/such/folder",
        ),
        ("--blobs", "file:///no/such/folder", "/no/such/folder"),
    ];
    for (flag, value, words) in cases {
        let said = Settings::new()?
            .operator()
            .with(flag, value)
            .fails("wavestore-operator")
            .await?;
        ensure!(
            said.contains(words),
            "{flag} {value}: it does not name `{words}`: {said}"
        );
    }
    Ok(())
}

/// Settings of an operator whose chart always says no.
async fn with_broken_chart(namespace: &str) -> Result<Settings> {
    let settings = Settings::new()?.operator();
    migrate(&format!("sqlite://{}", settings.path("catalog.db"))).await?;
    let chart = settings.path("chart");
    std::fs::create_dir_all(format!("{chart}/templates"))?;
    std::fs::write(
        format!("{chart}/Chart.yaml"),
        "apiVersion: v2\nname: wave-instance\nversion: 0.0.1\n",
    )?;
    std::fs::write(
        format!("{chart}/templates/broken.yaml"),
        "{{ fail \"the chart is broken on purpose\" }}\n",
    )?;
    Ok(settings
        .with("--chart", chart)
        .with("--namespace", namespace)
        // Not the port of the operators that other tests start at the same time.
        .with("--health-port", "18098"))
}

/// An operator of its own, in a namespace of its own, with a chart that does not render.
#[tokio::test(flavor = "multi_thread")]
async fn a_chart_that_fails_to_render_is_told_in_helms_own_words() -> Result<()> {
    let store = Store::connect().await?;
    let namespace = "e2e-broken-chart";
    let namespaces: Api<Namespace> = Api::all(store.client.clone());
    let object = Namespace {
        metadata: ObjectMeta {
            name: Some(namespace.into()),
            ..Default::default()
        },
        ..Default::default()
    };
    namespaces
        .patch(
            namespace,
            &PatchParams::apply("e2e"),
            &Patch::Apply(&object),
        )
        .await?;

    let settings = with_broken_chart(namespace).await?;
    let mut operator = settings.start("wavestore-operator")?;

    let bundle = e2e::pack(&[
        (
            "app.toml",
            b"[App]\nName = \"tiny\"\nVersion = \"1.0.0\"\n[Runtime]\nModule = \"app\"\n",
        ),
        ("app.py", b""),
    ])?;
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some("tiny".into()),
            ..Default::default()
        },
        binary_data: Some([("app.wave".to_owned(), ByteString(bundle))].into()),
        ..Default::default()
    };
    let maps: Api<ConfigMap> = Api::namespaced(store.client.clone(), namespace);
    maps.patch("tiny", &PatchParams::apply("e2e"), &Patch::Apply(&map))
        .await?;
    let apps: Api<WaveApp> = Api::namespaced(store.client.clone(), namespace);
    let app = json!({
        "apiVersion": "wavestore.io/v1alpha1",
        "kind": "WaveApp",
        "metadata": { "name": "tiny" },
        "spec": { "bundle": { "configMapRef": { "name": "tiny", "key": "app.wave" } }, "owner": "alice" },
    });
    apps.patch("tiny", &PatchParams::apply("e2e"), &Patch::Apply(&app))
        .await?;
    let instances: Api<WaveInstance> = Api::namespaced(store.client.clone(), namespace);
    if instances.get_opt("tiny").await?.is_none() {
        let object = WaveInstance::new("tiny", instance("tiny", "alice", Visibility::Private));
        instances.create(&PostParams::default(), &object).await?;
    }
    condition(&instances, "tiny", "Ready", |ready| {
        ready.message.contains("the chart is broken on purpose")
    })
    .await?;

    // Nothing stays behind: neither a release nor, once it is deleted, the instance.
    instances.delete("tiny", &DeleteParams::default()).await?;
    apps.delete("tiny", &DeleteParams::default()).await?;
    eventually("instance and app to be gone", async || {
        ensure!(
            instances.get_opt("tiny").await?.is_none(),
            "the instance is still there"
        );
        ensure!(
            apps.get_opt("tiny").await?.is_none(),
            "the app is still there"
        );
        Ok(())
    })
    .await?;
    if let Some(pid) = operator.id() {
        run("kill", &["-TERM", &pid.to_string()], None).await?;
    }
    let status =
        tokio::time::timeout(PATIENCE.min(Duration::from_mins(1)), operator.wait()).await??;
    ensure!(status.success(), "the operator ended with {status}");
    namespaces
        .delete(namespace, &DeleteParams::default())
        .await?;
    Ok(())
}
