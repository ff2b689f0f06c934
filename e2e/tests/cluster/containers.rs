//! Apps that bring an image of their own run in it, where an admin allows it.

use anyhow::{Result, ensure};
use crds::{Visibility, WaveApp};
use e2e::{Store, condition, eventually, instance, kubectl, pack};

#[tokio::test(flavor = "multi_thread")]
async fn an_app_may_bring_an_image_that_the_store_allows() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let apps = store.api::<WaveApp>();
    let name = "e2e-container";
    // `make up` allows the image of instances, which has Python and is on the node already.
    let jsonpath = r#"--output=jsonpath={..env[?(@.name=="WAVESTORE_INSTANCE_IMAGE")].value}"#;
    let ours = ["get", "deployment", "wavestore-operator", jsonpath];
    let image = kubectl(&ours, None).await?;
    let bundle = |image: &str| {
        let toml = format!(
            "[App]\nName = \"{name}\"\nVersion = \"1.0.0\"\n[Runtime]\nModule = \"app\"\nAppMode = \"container\"\n\
             CustomImage = \"{image}\"\nPort = 8050\nAppEntryPoint = [\"python3\", \"-m\", \"http.server\"]\n\
             AppArgs = [\"8050\", \"--directory\", \"/tmp\"]\nMemoryLimit = \"128Mi\"\nMemoryReservation = \"32Mi\"\n\
             [[File]]\nPath = \"/tmp/greeting.txt\"\nValue = \"hello from $(PORT)\"\n"
        );
        pack(&[("app.toml", toml.as_bytes()), ("app.py", b"".as_slice())])
    };

    let stranger = bundle("docker.io/library/nginx:1")?;
    let app = store.submit(name, stranger, Visibility::AllUsers).await?;
    condition(&apps, name, "Stalled", |stalled| {
        stalled.status == "True" && stalled.message.contains("customImages")
    })
    .await?;
    store.retract(&app).await?;

    let app = store
        .submit(name, bundle(&image)?, Visibility::AllUsers)
        .await?;
    condition(&apps, name, "Ready", |ready| ready.status == "True").await?;
    store.delete(name).await?;
    store
        .apply(name, instance(name, &store.admin, Visibility::Public))
        .await?;
    store.ready(name).await?;
    eventually("the container to answer", async || {
        let answer = store.get(&store.host(name), "/greeting.txt").await?;
        let text = answer.text().await?;
        ensure!(text == "hello from $(PORT)", "it answers: {text}");
        Ok(())
    })
    .await?;
    let mounts = kubectl(
        &[
            "exec",
            &format!("deployment/{name}"),
            "--",
            "ls",
            "/var/run/secrets",
        ],
        None,
    )
    .await;
    ensure!(mounts.is_err(), "it has a token: {mounts:?}");
    let root = kubectl(
        &[
            "exec",
            &format!("deployment/{name}"),
            "--",
            "touch",
            "/here",
        ],
        None,
    )
    .await;
    ensure!(root.is_err(), "it may write to its image");

    store.delete(name).await?;
    store.retract(&app).await
}
