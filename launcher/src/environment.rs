//! The app's Python environment, made by uv and kept for the next container of the same pod.

mod fingerprint;

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::{info, warn};

use crate::commands;
use crate::error::Error;
use crate::phase::Board;
use crate::process::{Ended, Host, OnLine, Plan, Process};
use crate::reason;
use crate::settings::{App, Settings};

use fingerprint::fingerprint;

/// Holds the fingerprint of what the environment was made from, once it is complete.
const MARKER: &str = ".wavestore-environment";

const REQUIREMENTS: &str = "requirements.txt";

/// First words of the lines by which uv tells its progress.
const PROGRESS: [&str; 6] = [
    "Resolved",
    "Downloading",
    "Building",
    "Prepared",
    "Installed",
    "Updating",
];

/// Makes the environment, unless it is there already.
pub(crate) async fn prepare(
    settings: &Settings,
    host: &Host,
    board: &Arc<Board>,
) -> Result<(), Error> {
    warn_of_packages(&settings.folders.app).await;
    let requirements = read_requirements(&settings.folders.app).await?;
    let python = python_version(settings, host).await?;
    let wanted = fingerprint(&python, requirements.as_deref(), &settings.digest);
    let marker = settings.folders.venv.join(MARKER);
    let present = tokio::fs::read_to_string(&marker).await;
    if present.is_ok_and(|text| text.trim() == wanted) {
        info!("The Python environment is there already");
    } else {
        build(settings, host, board, requirements.is_some()).await?;
        tokio::fs::write(&marker, format!("{wanted}\n"))
            .await
            .map_err(|source| Error::File {
                verb: "write",
                path: marker,
                source,
            })?;
    }
    match &settings.app {
        App::Wave { .. } => check_wave(&settings.folders.venv),
        App::Python { .. } => Ok(()),
    }
}

async fn build(
    settings: &Settings,
    host: &Host,
    board: &Arc<Board>,
    has_requirements: bool,
) -> Result<(), Error> {
    let on_line: OnLine = Arc::new({
        let board = Arc::clone(board);
        move |line: &str| {
            if PROGRESS
                .iter()
                .any(|word| line.trim_start().starts_with(word))
            {
                board.tell(line.trim());
            }
        }
    });
    let made = run(&commands::venv(settings), host, &on_line).await?;
    if !made.exit.is_success() {
        return Err(Error::Environment(failure(&made)));
    }
    if has_requirements {
        let installed = run(&commands::install(settings), host, &on_line).await?;
        if !installed.exit.is_success() {
            return Err(Error::Install(failure(&installed)));
        }
    } else {
        info!("The bundle has no requirements.txt: nothing to install");
    }
    // Only ours: a shared cache (UV_CACHE_DIR) is not there. The environment has links to the same files.
    let _ = tokio::fs::remove_dir_all(&settings.folders.cache).await;
    Ok(())
}

fn failure(ended: &Ended) -> String {
    if ended.exit.is_kill() {
        return "uv was killed, most likely because it used more memory than the pod's limit"
            .to_owned();
    }
    reason::of_uv(&ended.tail)
}

async fn run(plan: &Plan, host: &Host, on_line: &OnLine) -> Result<Ended, Error> {
    Ok(Process::start(plan, host, on_line)?.finish().await)
}

async fn python_version(settings: &Settings, host: &Host) -> Result<String, Error> {
    let version = Arc::new(Mutex::new(String::new()));
    let on_line: OnLine = Arc::new({
        let version = Arc::clone(&version);
        move |line: &str| line.trim().clone_into(&mut version.lock())
    });
    let ended = run(&commands::python_version(settings), host, &on_line).await?;
    let version = version.lock().clone();
    if ended.exit.is_success() {
        Ok(version)
    } else {
        let python = settings.python.display();
        let exit = ended.exit;
        Err(Error::Environment(format!(
            "`{python} --version` {exit}: {version}"
        )))
    }
}

async fn read_requirements(app: &Path) -> Result<Option<String>, Error> {
    let path = app.join(REQUIREMENTS);
    match tokio::fs::read(&path).await {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File {
            verb: "read",
            path,
            source,
        }),
    }
}

async fn warn_of_packages(app: &Path) {
    let Ok(text) = tokio::fs::read_to_string(app.join("packages.txt")).await else {
        return;
    };
    let packages: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    if !packages.is_empty() {
        warn!(
            "packages.txt: system packages cannot be installed without root: {}. An app that needs them \
             needs an image that has them",
            packages.join(", ")
        );
    }
}

/// The manylinux wheel of h2o-wave puts the server at the root of the environment; the one for any platform
/// has none.
fn check_wave(venv: &Path) -> Result<(), Error> {
    if venv.join("waved").is_file() {
        return Ok(());
    }
    let libraries = std::fs::read_dir(venv.join("lib")).into_iter().flatten();
    let has_wave = libraries
        .flatten()
        .any(|python| python.path().join("site-packages/h2o_wave").is_dir());
    Err(if has_wave {
        Error::NoWaveServer
    } else {
        Error::NoWave
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_environment_without_the_server_names_the_fix() {
        let venv = tempfile::tempdir().unwrap();
        assert!(matches!(check_wave(venv.path()), Err(Error::NoWave)));
        let package = venv.path().join("lib/python3.11/site-packages/h2o_wave");
        fs::create_dir_all(package).unwrap();
        assert!(matches!(check_wave(venv.path()), Err(Error::NoWaveServer)));
        fs::write(venv.path().join("waved"), "").unwrap();
        assert!(check_wave(venv.path()).is_ok());
    }
}
