//! The launcher with the real uv, the real h2o-wave from a package index, and the real sample app.
//!
//! uv is taken from the variable `UV`, from the PATH, or from where `e2e/cluster/build.sh` keeps it.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use crate::pod::{Pod, STOPPED, bundle, eventually, get, signal_to};
use crate::processes;
use crate::store::{Store, digest};

pub(crate) fn uv() -> PathBuf {
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
    assert_eq!(launcher.exit_code(), Some(STOPPED));
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

/// An index that asks for a password; ends with the test.
struct Index {
    process: Child,
    port: String,
}

impl Index {
    fn start(user: &str, password: &str) -> Self {
        let mut process = Command::new("python3")
            .arg("tests/launcher/stand-ins/index.py")
            .args([user, password])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        let out = process.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut port).unwrap();
        Self {
            process,
            port: port.trim().to_owned(),
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn an_index_with_a_password_gets_it_and_nobody_else_does() {
    let (user, password) = ("wavestore", "the password of the index");
    let index = Index::start(user, password);
    let body = bundle(&[("app.py", ""), ("requirements.txt", "ours==1.0\n")]);
    let store = Store::start(body.clone(), &[]);
    let address = format!("http://{}", store.address);
    for (shown, expected) in [(password, 0), ("another", 1)] {
        let pod = Pod::new();
        let mut command = pod.build(&digest(&body), &address, &uv(), &"ab".repeat(20));
        command
            .env(
                "UV_DEFAULT_INDEX",
                format!("ours=http://127.0.0.1:{}/simple", index.port),
            )
            .env("UV_INDEX_OURS_USERNAME", user)
            .env("UV_INDEX_OURS_PASSWORD", shown);
        let mut builder = pod.start(command);
        let code = builder.exit_code();
        let (log, told) = (builder.log(), pod.termination());
        assert_eq!(code, Some(expected), "{log}");
        assert!(
            !log.contains(shown) && !told.contains(shown),
            "{told}: {log}"
        );
        if expected == 0 {
            let lock = fs::read_to_string(pod.path("resources/venv/requirements.lock")).unwrap();
            assert_eq!(lock, "ours==1.0\n");
        } else {
            assert!(
                told.contains("401") || told.contains("Unauthorized"),
                "{told}"
            );
            assert!(
                told.contains("hint: give pods the user and password of the index"),
                "{told}"
            );
        }
    }
}

#[test]
fn what_is_wrong_with_an_index_or_requirements_is_said_in_one_sentence() {
    let index = Index::start("wavestore", "secret");
    let at = |path: &str| format!("http://wavestore:secret@127.0.0.1:{}{path}", index.port);
    let reach = "does the index of packages answer, and may this pod reach it?";
    let cases = [
        (
            "away",
            "ours",
            "http://127.0.0.1:9/simple".to_owned(),
            "onnection refused",
            reach,
        ),
        ("silent", "ours", at("/silent"), "timed out", reach),
        ("broken", "ours", at("/broken"), "500", reach),
        (
            "without the file that it names",
            "ours",
            at("/gone/simple"),
            "404",
            reach,
        ),
        (
            "not there",
            "theirs",
            at("/simple"),
            "theirs was not found in the package registry",
            "is its name right, and does the index have it",
        ),
        (
            "no such version",
            "ours==3.0",
            at("/simple"),
            "there is no version of ours==3.0",
            "let requirements.txt name a version that the index has",
        ),
        (
            "a conflict",
            "ours==1.0\nours==2.0",
            at("/simple"),
            "you require ours==1.0 and ours==2.0",
            "let requirements.txt name versions that go together",
        ),
    ];
    for (name, requirements, url, words, next) in cases {
        let body = bundle(&[("app.py", ""), ("requirements.txt", requirements)]);
        let store = Store::start(body.clone(), &[]);
        let address = format!("http://{}", store.address);
        let pod = Pod::new();
        let mut command = pod.build(&digest(&body), &address, &uv(), &"ab".repeat(20));
        command
            .env("UV_DEFAULT_INDEX", url)
            .env("UV_HTTP_RETRIES", "0")
            .env("UV_HTTP_TIMEOUT", "2");
        let mut builder = pod.start(command);
        assert_eq!(builder.exit_code(), Some(1), "{name}");
        let told = pod.termination();
        assert!(
            told.starts_with("could not install `requirements.txt`: "),
            "{name}: {told}"
        );
        assert!(told.contains(words), "{name}: {told}");
        assert!(told.contains(&format!("\nhint: {next}")), "{name}: {told}");
        assert!(!told.contains("secret"), "{name}: {told}");
    }
}

#[test]
fn an_index_that_is_slow_or_fails_for_a_moment_still_serves() {
    let index = Index::start("wavestore", "secret");
    for path in ["/slow/simple", "/flaky/simple"] {
        let body = bundle(&[("app.py", ""), ("requirements.txt", "ours")]);
        let store = Store::start(body.clone(), &[]);
        let address = format!("http://{}", store.address);
        let pod = Pod::new();
        let mut command = pod.build(&digest(&body), &address, &uv(), &"ab".repeat(20));
        let url = format!("http://wavestore:secret@127.0.0.1:{}{path}", index.port);
        command
            .env("UV_DEFAULT_INDEX", url)
            .env("UV_HTTP_TIMEOUT", "5");
        let mut builder = pod.start(command);
        assert_eq!(builder.exit_code(), Some(0), "{path}: {}", builder.log());
        let lock = fs::read_to_string(pod.path("resources/venv/requirements.lock")).unwrap();
        assert_eq!(lock, "ours==1.0\n", "{path}");
    }
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
