//! `helm install` or `helm upgrade`: brings a release to the spec, whether there is one already or not.

use std::ffi::OsString;
use std::path::Path;

use crds::{Runtime, WaveInstanceSpec};
use serde::Deserialize;
use serde_json::Value;

use super::{Error, Helm, process, releases};

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
        command: process::name(&args),
        source,
    })?;
    Ok(release.version)
}

/// The first revision is installed: an upgrade would list the release's records twice, which costs the API server more than
/// anything else that Helm asks. Should somebody else install the release in this very moment, Helm refuses, and nothing is lost.
///
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
    let mut args: Vec<OsString> = if revision == 1 {
        vec!["install".into()]
    } else {
        // Helm does not count a release as installed of which only superseded revisions are left.
        ["upgrade", "--install", "--history-max", HISTORY]
            .map(Into::into)
            .to_vec()
    };
    args.extend([release.into(), chart.into()]);
    let flags = [
        "--namespace",
        namespace,
        "--take-ownership",
        "--server-side=false",
        "--disable-openapi-validation",
        "--labels",
        &mark,
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
        let line = |revision, keep| {
            let args = argv("sales", revision, Path::new("/chart"), "wavestore", keep);
            let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
            args.join(" ")
        };
        insta::assert_snapshot!(line(1, false), @"install sales /chart --namespace wavestore --take-ownership --server-side=false --disable-openapi-validation --labels wavestore.io/revision=1 --values - --output json");
        insta::assert_snapshot!(line(3, false), @"upgrade --install --history-max 5 sales /chart --namespace wavestore --take-ownership --server-side=false --disable-openapi-validation --labels wavestore.io/revision=3 --values - --output json");
        insta::assert_snapshot!(line(3, true), @"upgrade --install --history-max 5 sales /chart --namespace wavestore --take-ownership --server-side=false --disable-openapi-validation --labels wavestore.io/revision=3 --values - --output json --reuse-values");
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
            size: None,
        };
        let values = values(&spec, &Resolved::Kept);
        let values: Value = serde_json::from_slice(&values).expect("JSON");
        insta::assert_snapshot!(values, @r#"{"app":{"name":"hello","version":"1.0.0"},"owner":"alice","suspended":false,"visibility":"Public"}"#);
    }
}
