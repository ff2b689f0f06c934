//! The launcher with the real uv, the real h2o-wave from a package index, and the real sample app.
//!
//! uv is taken from the variable `UV`, from the PATH, or from where `e2e/cluster/build.sh` keeps it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::pod::{Pod, eventually, get, signal_to};
use crate::processes;
use crate::store::{Store, digest};

fn uv() -> PathBuf {
    let on_path = env::var_os("PATH").unwrap_or_default();
    let builds = fs::read_dir(cache().join("cluster")).into_iter().flatten();
    env::var_os("UV")
        .map(PathBuf::from)
        .into_iter()
        .chain(env::split_paths(&on_path).map(|folder| folder.join("uv")))
        .chain(builds.flatten().map(|build| build.path().join("bin/uv")))
        .find(|file| file.is_file())
        .expect(
            "this test needs uv: set UV to the program, or put it on the PATH (`pip install uv`)",
        )
}

/// The folder that `e2e/cluster/lib.sh` calls CACHE.
fn cache() -> PathBuf {
    let folder = |name| env::var_os(name).map(PathBuf::from);
    folder("WAVESTORE_CACHE")
        .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("wavestore")))
        .or_else(|| Some(folder("HOME")?.join(".cache/wavestore")))
        .unwrap_or_default()
}

/// Packs a sample app as its users would.
fn pack(name: &str, into: &Path) -> Vec<u8> {
    let apps = Path::new("../e2e/apps");
    let packed = Command::new("python3")
        .arg(apps.join("pack.py"))
        .arg(apps.join(name))
        .arg(into)
        .output()
        .unwrap();
    assert!(packed.status.success(), "{packed:?}");
    fs::read(into).unwrap()
}

#[test]
fn a_real_wave_app_runs_heals_and_stops() {
    let pod = Pod::new();
    let body = pack("hello", &pod.path("hello.wave"));
    let store = Store::start(body.clone(), &[]);
    let mut command = pod.command(&digest(&body), &format!("http://{}", store.address), &uv());
    command.env("H2O_WAVE_BASE_URL", "/instance/sales/");
    let mut launcher = pod.start(command);
    launcher.wait_until_ready();
    let page = get(pod.port, "/instance/sales/").unwrap();
    assert_eq!(page.code, 200);
    assert!(page.text.contains("Wave"), "{}", page.text);

    // The default keys of waved, which everybody knows, are refused.
    let socket = format!("127.0.0.1:{}", pod.port);
    assert_eq!(patch_with_default_keys(&socket), Some(401));

    for (restarts, victim) in [(1, "uvicorn"), (2, "/waved")] {
        signal_to(launcher.child(victim), Signal::SIGKILL);
        launcher.eventually("told", || {
            (launcher.phase()["restarts"] == restarts).then_some(())
        });
        launcher.wait_until_ready();
    }

    let left = [launcher.child("uvicorn"), launcher.child("/waved")];
    launcher.send(Signal::SIGTERM);
    assert_eq!(launcher.exit_code(), Some(0));
    let gone = eventually(|| (!left.iter().any(|pid| processes::lives(*pid))).then_some(()));
    assert!(gone.is_some(), "of {left:?} some still live");
    let log = launcher.log();
    assert!(
        log.contains("\"t\":\"app_drop\""),
        "the app took no leave of waved:\n{log}"
    );
}

#[test]
fn a_real_environment_that_was_built_elsewhere_runs_here() {
    let (job, pod) = (Pod::new(), Pod::new());
    let body = pack("hello", &pod.path("hello.wave"));
    let store = Store::start(body.clone(), &[]);
    let address = format!("http://{}", store.address);
    let key = "ab".repeat(20);
    let mut builder = job.start(job.build(&digest(&body), &address, &uv(), &key));
    assert_eq!(builder.exit_code(), Some(0), "{}", builder.log());
    let report: serde_json::Value = serde_json::from_str(&job.termination()).unwrap();
    let built = report["digest"].as_str().unwrap();
    drop(job);

    // What would have to be installed could not be.
    let mut command = pod.command(&digest(&body), &address, &uv());
    command
        .env("UV_OFFLINE", "1")
        .env("WAVESTORE_ENVIRONMENT_KEY", &key)
        .env("WAVESTORE_ENVIRONMENT_DIGEST", built);
    let launcher = pod.start(command);
    launcher.wait_until_ready();
    assert_eq!(get(pod.port, "/").unwrap().code, 200);
    let venv = pod.path("resources/venv");
    let lock = fs::read_to_string(venv.join("requirements.lock")).unwrap();
    assert!(lock.contains("h2o-wave==1.8.16"), "{lock}");
    let modules = glob(&venv, "__init__.py");
    let compiled = glob(&venv, ".pyc");
    assert!(
        compiled > modules,
        "{compiled} compiled modules for {modules} packages"
    );
}

/// How many files have names with this end.
fn glob(folder: &Path, end: &str) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            if entry.file_type().unwrap().is_dir() {
                glob(&entry.path(), end)
            } else {
                usize::from(entry.file_name().to_string_lossy().ends_with(end))
            }
        })
        .sum()
}

fn patch_with_default_keys(address: &str) -> Option<u16> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    // `access_key_id:access_key_secret`
    let request = "PATCH /instance/sales/demo HTTP/1.0\r\nHost: localhost\r\n\
        Authorization: Basic YWNjZXNzX2tleV9pZDphY2Nlc3Nfa2V5X3NlY3JldA==\r\n\
        Content-Type: application/json\r\nContent-Length: 8\r\n\r\n{\"d\":[]}";
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.split(' ').nth(1)?.parse().ok()
}

#[test]
fn the_real_uv_names_the_package_that_does_not_exist() {
    let pod = Pod::new();
    let body = pack("broken-requirements", &pod.path("broken.wave"));
    let store = Store::start(body.clone(), &[]);
    let store = format!("http://{}", store.address);
    let mut launcher = pod.start(pod.command(&digest(&body), &store, &uv()));
    assert_eq!(launcher.exit_code(), Some(1));
    let message = pod.termination();
    assert!(
        message.starts_with("could not install `requirements.txt`: "),
        "{message}"
    );
    assert!(message.contains("wavestore-no-such-package"), "{message}");
}

#[test]
fn a_real_app_that_crashes_at_start_tells_its_exception() {
    let pod = Pod::new();
    let body = pack("crash-start", &pod.path("crash.wave"));
    let store = Store::start(body.clone(), &[]);
    let store = format!("http://{}", store.address);
    let mut launcher = pod.start(pod.command(&digest(&body), &store, &uv()));
    assert_eq!(launcher.exit_code(), Some(1));
    assert_eq!(
        pod.termination(),
        "the app ended with code 1: RuntimeError: the database password is missing"
    );
}
