//! What GitOps tools make of an object's status.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::{namespace::path, run};

/// The `ConfigMap` of Argo CD with our health scripts.
const ARGOCD_CM: &str = "../config/samples/argocd/argocd-cm.yaml";

/// How an object is doing, as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Health {
    /// By kstatus, as Flux, `helm --wait` and others see it: `Current`, `InProgress`, `Failed`.
    pub flux: String,
    /// By our scripts for Argo CD: `Healthy`, `Progressing`, `Degraded`.
    pub argo: String,
    /// What Argo CD shows beside it.
    pub message: String,
}

/// Judges objects with the libraries that Flux and Argo CD use; the answers are in the order of the objects.
///
/// # Errors
/// Go is missing, or a script fails on an object.
pub async fn health(objects: &[Value]) -> Result<Vec<Health>> {
    const PROGRAM: &str = "gitops";
    let input = serde_json::to_string(objects)?;
    let argocd = std::path::absolute(ARGOCD_CM)?;
    let args = ["run", "-C", PROGRAM, ".", &path(&argocd)];
    let output = run("go", &args, Some(&input)).await?;
    ensure!(output.success, "{}", output.stderr);
    serde_json::from_str(&output.stdout).context("the verdicts are no JSON")
}
