//! Where bundles come from: registries and buckets outside of the cluster, and what they answer instead. A large one takes little memory.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crds::WaveApp;
use e2e::{
    Authority, Bucket, Challenge, Operator, Registry, RouterLaunch, Sandbox, condition, eventually,
    pack,
};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Media type of a bundle.
const BUNDLE: &str = "application/vnd.wavestore.bundle.v1+zip";

/// What a bundle may take of the operator's memory.
const MEMORY_KIB: u64 = 64 * 1024;

fn bundle(name: &str, files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let manifest = format!(
        "[App]\nName = \"{name}\"\nVersion = \"1.0.0\"\nTitle = \"{name}\"\nDescription = \"From elsewhere.\"\n[Runtime]\nModule = \"app\"\n"
    );
    let app: [(&str, &[u8]); 2] = [("app.toml", manifest.as_bytes()), ("app.py", b"# nothing")];
    pack(&[&app[..], files].concat())
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

fn address() -> Result<SocketAddr> {
    Ok((Ipv4Addr::LOCALHOST, RouterLaunch::free_port()?).into())
}

async fn publish(sandbox: &Sandbox, name: &str, source: Value) -> Result<()> {
    let app = json!({
        "apiVersion": "wavestore.io/v1alpha1",
        "kind": "WaveApp",
        "metadata": { "name": name },
        "spec": { "bundle": source, "owner": "alice" },
    });
    let apps = sandbox.api::<WaveApp>();
    apps.patch(name, &PatchParams::apply("e2e"), &Patch::Apply(&app))
        .await?;
    Ok(())
}

async fn imported(sandbox: &Sandbox, name: &str) -> Result<()> {
    let apps = sandbox.api::<WaveApp>();
    condition(&apps, name, "Ready", |ready| ready.status == "True").await?;
    Ok(())
}

/// It is not imported, for this reason, and is told so in these words.
async fn refused(sandbox: &Sandbox, name: &str, reason: &str, words: &str) -> Result<()> {
    let apps = sandbox.api::<WaveApp>();
    condition(&apps, name, "Ready", |ready| {
        ready.status == "False" && ready.reason == reason && ready.message.contains(words)
    })
    .await?;
    Ok(())
}

/// Lets the API server admit urls without digests, as the chart does with `imports.digestRequired: false`.
async fn without_policy(sandbox: &Sandbox) -> Result<()> {
    let binding = format!("wavestore.{}.urls-need-digests", sandbox.name);
    let delete = ["delete", "validatingadmissionpolicybinding", &binding];
    sandbox.kubectl(&delete, None).await?;
    Ok(())
}

/// What is outside of the cluster trusts, and is trusted by, this authority.
struct Outside<'a> {
    sandbox: &'a Sandbox,
    authority: Authority,
    trusted: PathBuf,
    passwords: PathBuf,
}

impl<'a> Outside<'a> {
    fn new(sandbox: &'a Sandbox) -> Result<Self> {
        let authority = Authority::new()?;
        let trusted = sandbox.folder().join("authority.crt");
        std::fs::write(&trusted, &authority.certificate)?;
        Ok(Self {
            sandbox,
            authority,
            trusted,
            passwords: sandbox.folder().join("dockerconfig.json"),
        })
    }

    async fn registry(&self, challenge: Challenge) -> Result<Registry> {
        let folder = self.sandbox.folder();
        Registry::start(address()?, &self.authority, folder, challenge).await
    }

    fn password(&self, registry: &Registry, password: &str) -> Result<()> {
        let auth = BASE64_STANDARD.encode(format!("{}:{password}", Registry::NAME));
        let auths = json!({ "auths": { registry.address.to_string(): { "auth": auth } } });
        // As a Secret's volume does it: never half.
        let new = self.passwords.with_extension("new");
        std::fs::write(&new, auths.to_string())?;
        Ok(std::fs::rename(new, &self.passwords)?)
    }

    async fn operator(&self, flags: &[&str]) -> Result<Operator> {
        let mut operator = self
            .sandbox
            .operator()
            .flag(format!(
                "--import-registry-config={}",
                self.passwords.display()
            ))
            .variable("SSL_CERT_FILE", self.trusted.display().to_string());
        for flag in flags {
            operator = operator.flag(*flag);
        }
        operator.start().await
    }
}

async fn from_a_registry(challenge: Challenge) -> Result<()> {
    let sandbox = Sandbox::create("registry").await?;
    let outside = Outside::new(&sandbox)?;
    let registry = outside.registry(challenge).await?;
    outside.password(&registry, "another-password")?;
    let mut operator = outside.operator(&["--import-host=127.0.0.1"]).await?;
    let app = bundle("tagged", &[])?;
    let other = bundle("pinned", &[])?;
    registry
        .push("apps/tagged", "1.0.0", &[(BUNDLE, &app)])
        .await?;
    let readme: (&str, &[u8]) = ("text/markdown", b"# Pinned");
    let pinned = registry
        .push("apps/pinned", "1.0.0", &[readme, (BUNDLE, &other)])
        .await?;
    registry.push("apps/readme", "1.0.0", &[readme]).await?;
    let url = |rest: &str| format!("oci://{}/{rest}", registry.address);

    let source = json!({ "url": url("apps/tagged:1.0.0"), "digest": digest(&app) });
    publish(&sandbox, "tagged", source).await?;
    refused(
        &sandbox,
        "tagged",
        "Unauthorized",
        "does not let the store read",
    )
    .await?;
    outside.password(&registry, Registry::PASSWORD)?;
    imported(&sandbox, "tagged").await?;

    let pinned = url(&format!("apps/pinned:1.0.0@{pinned}"));
    publish(&sandbox, "pinned", json!({ "url": pinned })).await?;
    imported(&sandbox, "pinned").await?;

    let zeros = format!("sha256:{}", "0".repeat(64));
    let loose = json!({ "url": url("apps/tagged:1.0.0") });
    let denied = publish(&sandbox, "loose", loose.clone()).await;
    let denied = denied.err().context("it is admitted")?.to_string();
    ensure!(denied.contains("a url needs a digest"), "{denied}");
    without_policy(&sandbox).await?;
    eventually("the policy to be gone", async || {
        publish(&sandbox, "loose", loose.clone()).await
    })
    .await?;
    refused(&sandbox, "loose", "NoDigest", "sha256sum").await?;

    let cases = [
        (
            "exchanged",
            json!({ "url": url("apps/tagged:1.0.0"), "digest": zeros }),
            "OtherDigest",
            zeros.as_str(),
        ),
        (
            "readme",
            json!({ "url": url("apps/readme:1.0.0"), "digest": zeros }),
            "Artifact",
            "text/markdown",
        ),
        (
            "missing",
            json!({ "url": url("apps/tagged:2.0.0"), "digest": zeros }),
            "Status",
            "404",
        ),
        (
            "nameless",
            json!({ "url": url("apps/tagged"), "digest": zeros }),
            "BadUrl",
            "oci://<registry>",
        ),
        (
            "elsewhere",
            json!({ "url": "oci://localhost/apps/tagged:1.0.0", "digest": zeros }),
            "BadUrl",
            "imports.hosts",
        ),
    ];
    for (name, source, reason, words) in cases {
        publish(&sandbox, name, source).await?;
        refused(&sandbox, name, reason, words).await?;
    }
    ensure!(
        !operator.log()?.contains(Registry::PASSWORD),
        "the password is in the log"
    );
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_come_from_a_registry_that_takes_passwords() -> Result<()> {
    from_a_registry(Challenge::Basic).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_come_from_a_registry_that_wants_tokens() -> Result<()> {
    from_a_registry(Challenge::Bearer).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tag_named_first_counts() -> Result<()> {
    let sandbox = Sandbox::create("moved").await?;
    let outside = Outside::new(&sandbox)?;
    let registry = outside.registry(Challenge::Basic).await?;
    outside.password(&registry, Registry::PASSWORD)?;
    let flags = ["--import-host=127.0.0.1", "--import-digest-required=false"];
    let mut operator = outside.operator(&flags).await?;
    let first = bundle("moved", &[])?;
    registry.push("moved", "1.0.0", &[(BUNDLE, &first)]).await?;
    let url = format!("oci://{}/moved:1.0.0", registry.address);
    without_policy(&sandbox).await?;
    eventually("the policy to be gone", async || {
        publish(&sandbox, "moved", json!({ "url": url })).await
    })
    .await?;
    imported(&sandbox, "moved").await?;

    let second = bundle("moved", &[("new.py", b"# new")])?;
    registry
        .push("moved", "1.0.0", &[(BUNDLE, &second)])
        .await?;
    operator.kill().await?;
    std::fs::remove_dir_all(sandbox.folder().join("blobs/bundles"))?;
    operator.restart().await?;
    refused(&sandbox, "moved", "OtherDigest", &digest(&first)).await?;
    registry.push("moved", "1.0.0", &[(BUNDLE, &first)]).await?;
    operator.kill().await?;
    operator.restart().await?;
    imported(&sandbox, "moved").await?;
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_come_from_the_buckets_that_are_listed() -> Result<()> {
    let sandbox = Sandbox::create("buckets").await?;
    let outside = Outside::new(&sandbox)?;
    let identity = outside.authority.issue(IpAddr::from(Ipv4Addr::LOCALHOST))?;
    let bucket = Bucket::start(address()?, &identity).await?;
    let place = |path: &str| format!("s3://{}/{path}", Bucket::NAME);
    let mut operator = sandbox
        .operator()
        .flag(format!("--import-bucket={}", place("releases")))
        .variable("SSL_CERT_FILE", outside.trusted.display().to_string())
        .variable("AWS_ACCESS_KEY_ID", Bucket::ACCESS_KEY)
        .variable("AWS_SECRET_ACCESS_KEY", Bucket::SECRET_KEY)
        .variable("AWS_REGION", "us-east-1")
        .variable("AWS_ENDPOINT_URL", format!("https://{}", bucket.address))
        .start()
        .await?;
    let app = bundle("bucket", &[])?;
    let late = bundle("late", &[])?;
    bucket.put("releases/team/bucket-1.0.0.wave", &app)?;
    bucket.put("private/bucket-1.0.0.wave", &app)?;

    let source = |path: &str, app: &[u8]| json!({ "url": place(path), "digest": digest(app) });
    let path = "private/bucket-1.0.0.wave";
    publish(&sandbox, "private", source(path, &app)).await?;
    refused(&sandbox, "private", "BadUrl", "imports.buckets").await?;
    let path = "releases/../private/bucket-1.0.0.wave";
    publish(&sandbox, "outside", source(path, &app)).await?;
    refused(&sandbox, "outside", "BadUrl", "imports.buckets").await?;

    let path = "releases/team/bucket-1.0.0.wave";
    publish(&sandbox, "bucket", source(path, &app)).await?;
    imported(&sandbox, "bucket").await?;
    let path = "releases/late-1.0.0.wave";
    publish(&sandbox, "late", source(path, &late)).await?;
    refused(&sandbox, "late", "NoObject", path).await?;
    bucket.put(path, &late)?;
    imported(&sandbox, "late").await?;
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

/// A PNG of one colour, as wide and high as that.
fn picture(side: u32) -> Result<Vec<u8>> {
    use std::io::Write as _;
    let mut pixels = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    let line = vec![0_u8; 1 + side as usize * 4];
    for _ in 0..side {
        pixels.write_all(&line)?;
    }
    let mut header = [side.to_be_bytes(), side.to_be_bytes()].concat();
    header.extend([8, 6, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, content) in [
        (b"IHDR", header),
        (b"IDAT", pixels.finish()?),
        (b"IEND", Vec::new()),
    ] {
        let mut sum = flate2::Crc::new();
        sum.update(kind);
        sum.update(&content);
        png.extend(u32::try_from(content.len())?.to_be_bytes());
        png.extend(kind);
        png.extend(&content);
        png.extend(sum.sum().to_be_bytes());
    }
    Ok(png)
}

/// A line of `/proc/<pid>/status`, in KiB.
fn memory(pid: u32, line: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let found = status.lines().find_map(|each| each.strip_prefix(line));
    let number = found.and_then(|rest| rest.split_whitespace().nth(1));
    Ok(number.with_context(|| format!("no {line}"))?.parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_bundle_with_large_pictures_takes_little_memory() -> Result<()> {
    let sandbox = Sandbox::create("large").await?;
    let outside = Outside::new(&sandbox)?;
    let registry = outside.registry(Challenge::Basic).await?;
    outside.password(&registry, Registry::PASSWORD)?;
    let mut operator = outside
        .sandbox
        .operator()
        .flag("--import-host=127.0.0.1")
        .flag(format!(
            "--import-registry-config={}",
            outside.passwords.display()
        ))
        .variable("SSL_CERT_FILE", outside.trusted.display().to_string())
        // As in the chart.
        .variable("MALLOC_ARENA_MAX", "1")
        .start()
        .await?;
    let small = bundle("small", &[])?;
    registry.push("small", "1.0.0", &[(BUNDLE, &small)]).await?;
    let mut noise = vec![0_u8; 50 * 1024 * 1024];
    fastrand::Rng::with_seed(7).fill(&mut noise);
    let picture = picture(3000)?;
    let files: [(&str, &[u8]); 4] = [
        ("data.bin", &noise),
        ("static/icon.png", &picture),
        ("static/screenshot-1.png", &picture),
        ("static/screenshot-2.png", &picture),
    ];
    let large = bundle("large", &files)?;
    registry.push("large", "1.0.0", &[(BUNDLE, &large)]).await?;
    let source = |name: &str, app: &[u8]| {
        let url = format!("oci://{}/{name}:1.0.0", registry.address);
        json!({ "url": url, "digest": digest(app) })
    };
    publish(&sandbox, "small", source("small", &small)).await?;
    imported(&sandbox, "small").await?;

    let pid = operator.pid()?;
    let idle = memory(pid, "VmRSS")?;
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("could not reset VmHWM")?;
    publish(&sandbox, "large", source("large", &large)).await?;
    imported(&sandbox, "large").await?;
    let above = memory(pid, "VmHWM")?.saturating_sub(idle);
    eprintln!("a bundle of 50 MiB takes {above} KiB above {idle} KiB");
    ensure!(above <= MEMORY_KIB, "it takes {above} KiB above {idle} KiB");
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}
