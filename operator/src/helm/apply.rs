//! `helm upgrade --install`: brings a release to the spec, whether there is one already or not.

use std::ffi::OsString;
use std::path::Path;

use crds::{Runtime, WaveInstanceSpec};
use serde::Deserialize;
use serde_json::Value;

use super::{Error, Helm, releases};

/// Revisions that Helm keeps of a release.
const HISTORY: &str = "5";

/// What the release gets besides the spec.
#[derive(Debug, Clone)]
pub(crate) enum Resolved {
    /// What the last revision had: a new store setting must not restart an app because it was shared.
    Kept,
    /// What the app and the store's settings come to now.
    Fresh(Box<Runtime>),
}

/// Installs or upgrades a release; answers the revision that it has now, which should be `revision`.
pub(crate) async fn apply(
    helm: &Helm,
    release: &str,
    revision: u32,
    spec: &WaveInstanceSpec,
    resolved: &Resolved,
) -> Result<u32, Error> {
    #[derive(Deserialize)]
    struct Release {
        version: u32,
    }
    let keep = matches!(resolved, Resolved::Kept);
    let args = argv(release, revision, &helm.chart, &helm.namespace, keep);
    let output = helm.run(&args, values(spec, resolved)).await?;
    let release: Release = serde_json::from_slice(&output).map_err(|source| Error::Output {
        command: "upgrade".to_owned(),
        source,
    })?;
    Ok(release.version)
}

/// `--server-side=false` keeps Helm from owning fields, so that no other writer meets a conflict;
/// `--take-ownership` adopts the `WaveInstance` that is there already, and what a dead run left.
/// `--disable-openapi-validation` halves Helm's CPU time: the chart's fields are checked by a test, not again by every
/// run, and the API server checks their values.
fn argv(
    release: &str,
    revision: u32,
    chart: &Path,
    namespace: &str,
    keep_values: bool,
) -> Vec<OsString> {
    let mark = releases::mark(revision);
    let mut args: Vec<OsString> = ["upgrade", "--install", release].map(Into::into).to_vec();
    args.push(chart.into());
    let flags = [
        "--namespace",
        namespace,
        "--take-ownership",
        "--server-side=false",
        "--disable-openapi-validation",
        "--labels",
        &mark,
        "--history-max",
        HISTORY,
        "--values",
        "-",
        "--output",
        "json",
    ];
    args.extend(flags.map(OsString::from));
    if keep_values {
        args.push("--reuse-values".into());
    }
    args
}

fn values(spec: &WaveInstanceSpec, resolved: &Resolved) -> Vec<u8> {
    let mut values = serde_json::to_value(spec).expect("a spec is JSON");
    if let (Resolved::Fresh(runtime), Value::Object(values)) = (resolved, &mut values) {
        let runtime = serde_json::to_value(runtime).expect("a runtime is JSON");
        values.insert("resolved".to_owned(), runtime);
    }
    serde_json::to_vec(&values).expect("values are JSON")
}

#[cfg(test)]
mod tests {
    use crds::{AppRef, Visibility};

    use super::*;

    #[test]
    fn arguments_are_these() {
        let line = |keep| {
            let args = argv("sales", 3, Path::new("/chart"), "wavestore", keep);
            let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
            args.join(" ")
        };
        insta::assert_snapshot!(line(false), @"upgrade --install sales /chart --namespace wavestore --take-ownership --server-side=false --disable-openapi-validation --labels wavestore.io/revision=3 --history-max 5 --values - --output json");
        insta::assert_snapshot!(line(true), @"upgrade --install sales /chart --namespace wavestore --take-ownership --server-side=false --disable-openapi-validation --labels wavestore.io/revision=3 --history-max 5 --values - --output json --reuse-values");
    }

    #[test]
    fn values_are_the_spec_key_for_key() {
        let spec = WaveInstanceSpec {
            app: AppRef {
                name: "hello".to_owned(),
                version: "1.0.0".to_owned(),
            },
            owner: "alice".to_owned(),
            visibility: Visibility::Public,
            suspended: false,
        };
        let values = values(&spec, &Resolved::Kept);
        let values: Value = serde_json::from_slice(&values).expect("JSON");
        insta::assert_snapshot!(values, @r#"{"app":{"name":"hello","version":"1.0.0"},"owner":"alice","suspended":false,"visibility":"Public"}"#);
    }
}
