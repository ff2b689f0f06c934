//! What app.toml says of memory, CPU, shared memory and GPUs is what the pod has.

use anyhow::{Result, ensure};
use crds::{Visibility, WaveInstance};
use e2e::{Store, condition, eventually, instance, kubectl};

use crate::server_apps::{of_pods, publish, start};

/// A web server that tells what the kernel lets it have: bytes of memory, CPUs, bytes of shared memory.
const SERVER: &str = r#"
import http.server, os

def words(*files):
    for file in files:
        try:
            return " ".join(open(f"/sys/fs/cgroup/{part}").read().strip() for part in file.split()).split()
        except OSError:
            pass

def seen():
    memory, = words("memory.max", "memory/memory.limit_in_bytes")
    quota, period = words("cpu.max", "cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us")
    shared = os.statvfs("/dev/shm")
    return f"{memory} {int(quota) / int(period)} {shared.f_frsize * shared.f_blocks}"

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = seen().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

#[tokio::test(flavor = "multi_thread")]
async fn limits_reservations_and_shared_memory_are_those_of_app_toml() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let name = "e2e-limits";
    let runtime =
        "AppMode = \"python\"\nMemoryLimit = \"128Mi\"\nCPULimit = \"750m\"\nEnableSHM = true\n";
    let app = publish(&store, name, runtime, SERVER).await?;
    start(&store, name).await?;
    store.ready(name).await?;
    // Without EnableSHM there are 64 MiB of shared memory, as every container has.
    let expected = format!("{memory} 0.75 {memory}", memory = 128 << 20);
    eventually("it to tell what it has", async || {
        let answer = store.get(&store.host(name), "/").await?;
        let text = answer.text().await?;
        ensure!(text == expected, "it has {text} instead of {expected}");
        Ok(())
    })
    .await?;
    let resources = of_pods(name, "{..spec.containers[0].resources}").await?;
    ensure!(
        resources
            == r#"{"limits":{"cpu":"750m","memory":"128Mi"},"requests":{"cpu":"20m","memory":"32Mi"}}"#,
        "{resources}"
    );
    store.delete(name).await?;
    store.retract(&app).await
}

/// A kind of GPU that no machine has.
const GPU: &str = "e2e.wavestore.io/gpu";

/// Lets the first node have one GPU, or none, as a device plugin would.
async fn set_gpu(is_there: bool) -> Result<()> {
    let node = "--output=jsonpath={.items[0].metadata.name}";
    let node = kubectl(&["get", "nodes", node], None).await?;
    let field = GPU.replace('/', "~1");
    let change = |list: &str| {
        let path = format!("/status/{list}/{field}");
        if is_there {
            serde_json::json!({"op": "add", "path": path, "value": "1"})
        } else {
            serde_json::json!({"op": "remove", "path": path})
        }
    };
    let patch = serde_json::json!([change("capacity"), change("allocatable")]).to_string();
    let args = [
        "patch",
        "node",
        &node,
        "--subresource=status",
        "--type=json",
        "--patch",
        &patch,
    ];
    kubectl(&args, None).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gpu_is_for_one_instance_at_a_time() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let (name, second) = ("e2e-gpu", "e2e-gpu-second");
    set_gpu(true).await?;
    let runtime = format!(
        "AppMode = \"python\"\nMemoryLimit = \"128Mi\"\nGPUCount = 1\nGPUType = \"{GPU}\"\n"
    );
    let app = publish(&store, name, &runtime, SERVER).await?;
    store.delete(second).await?;
    start(&store, name).await?;
    store.ready(name).await?;
    let limit = format!(
        "{{..spec.containers[0].resources.limits.{}}}",
        GPU.replace('.', "\\.")
    );
    let given = of_pods(name, &limit).await?;
    ensure!(given == "1", "it has {given:?}");

    store
        .apply(second, instance(name, &store.admin, Visibility::Public))
        .await?;
    let instances = store.api::<WaveInstance>();
    condition(&instances, second, "Ready", |ready| {
        ready.reason == "Unschedulable" && ready.message.contains(&format!("Insufficient {GPU}"))
    })
    .await?;
    store.delete(name).await?;
    store.ready(second).await?;
    store.delete(second).await?;
    store.retract(&app).await?;
    set_gpu(false).await
}
