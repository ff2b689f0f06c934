//! Apps that a test writes itself: one web server in a file.

use anyhow::Result;
use crds::{Visibility, WaveApp};
use e2e::{Published, Store, condition, instance, kubectl, pack};

/// Publishes a web server on port 8050, with these lines in `[Runtime]`.
pub(crate) async fn publish(
    store: &Store,
    name: &str,
    runtime: &str,
    server: &str,
) -> Result<Published> {
    let toml = format!(
        "[App]\nName = \"{name}\"\nVersion = \"1.0.0\"\n[Runtime]\nModule = \"server\"\nPort = 8050\n\
         MemoryReservation = \"32Mi\"\nCPUReservation = \"20m\"\n{runtime}"
    );
    let bundle = pack(&[
        ("app.toml", toml.as_bytes()),
        ("server.py", server.as_bytes()),
    ])?;
    let published = store.submit(name, bundle, Visibility::AllUsers).await?;
    let apps = store.api::<WaveApp>();
    condition(&apps, name, "Ready", |ready| ready.status == "True").await?;
    Ok(published)
}

/// Starts a public instance of an app of the same name.
pub(crate) async fn start(store: &Store, name: &str) -> Result<()> {
    store.delete(name).await?;
    let spec = instance(name, &store.admin, Visibility::Public);
    store.apply(name, spec).await?;
    Ok(())
}

/// What is at a path of the instance's pods, with blanks between.
pub(crate) async fn of_pods(name: &str, path: &str) -> Result<String> {
    let selector = format!("{}={name}", crds::INSTANCE_LABEL);
    let path = format!("--output=jsonpath={path}");
    kubectl(&["get", "pods", "--selector", &selector, &path], None).await
}
