//! `helm uninstall`: removes a release and everything in it.

use std::ffi::OsString;

use super::{Error, Helm};

/// Uninstalls a release; one that is gone already is no error.
pub(crate) async fn uninstall(helm: &Helm, release: &str) -> Result<(), Error> {
    helm.run(&argv(release, &helm.namespace), Vec::new())
        .await
        .map(drop)
}

fn argv(release: &str, namespace: &str) -> Vec<OsString> {
    [
        "uninstall",
        release,
        "--namespace",
        namespace,
        "--ignore-not-found",
    ]
    .map(Into::into)
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_these() {
        let args = argv("sales", "wavestore");
        let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
        insta::assert_snapshot!(args.join(" "), @"uninstall sales --namespace wavestore --ignore-not-found");
    }
}
