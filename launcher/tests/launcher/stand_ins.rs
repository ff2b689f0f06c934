//! The launcher with stand-ins for uv, waved and uvicorn: fast, and without a network.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::pod::{Launcher, Pod, STOPPED, bundle, eventually, get, signal_to};
use crate::processes;
use crate::store::{Store, digest};

/// An app that the stand-in for uvicorn imports.
pub(crate) const APP: &str = "print('the app is imported', flush=True)\n";

pub(crate) fn uv() -> PathBuf {
    std::path::absolute("tests/launcher/stand-ins/uv").expect("a current folder")
}

pub(crate) fn wave_bundle(app: &str, requirements: &str) -> Vec<u8> {
    bundle(&[
        ("app.py", app),
        ("uvicorn.py", include_str!("stand-ins/uvicorn.py")),
        ("requirements.txt", requirements),
    ])
}

/// Starts a launcher with a bundle whose app is `app`.
pub(crate) fn start(pod: &Pod, app: &str, flags: &[&str]) -> (Launcher, Store) {
    let body = wave_bundle(app, "h2o-wave\n");
    let digest = digest(&body);
    let store = Store::start(body, &[]);
    let mut command = pod.command(&digest, &format!("http://{}", store.address), &uv());
    command.args(flags);
    (pod.start(command), store)
}

#[test]
fn an_app_is_fetched_installed_and_started() {
    let pod = Pod::new();
    let body = wave_bundle(
        "import json, os\njson.dump(dict(os.environ), open('environment.json', 'w'))\n",
        "h2o-wave\n",
    );
    let digest = digest(&body);
    let store = Store::start(body, &[403, 503, 401]);
    let mut command = pod.command(&digest, &format!("http://{}", store.address), &uv());
    command
        .env("WAVESTORE_LOG", "debug")
        .env("DATABASE_PASSWORD", "secret");
    let mut launcher = pod.start(command);

    launcher.wait_until_ready();
    let expected = serde_json::json!(
        {"phase": "Running", "message": null, "ready": true, "restarts": 0}
    );
    assert_eq!(launcher.phase(), expected);
    assert_eq!(
        get(pod.port, "/").map(|answer| answer.text),
        Some("waved".to_owned())
    );
    assert_eq!(
        get(pod.health_port, "/livez").map(|answer| answer.code),
        Some(200)
    );

    let asked = store.asked.lock().unwrap().clone();
    let path = format!("/v1/bundles/{digest}");
    assert_eq!(asked, vec![(path, "Bearer first-token".to_owned()); 4]);
    assert!(
        !launcher.log().contains("first-token"),
        "the token is in the log"
    );

    let text = fs::read_to_string(pod.path("app/environment.json")).unwrap();
    let environment: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(environment["DATABASE_PASSWORD"], "secret");
    let own: Vec<_> = environment
        .as_object()
        .unwrap()
        .keys()
        .filter(|name| name.starts_with("WAVESTORE_"))
        .collect();
    assert!(own.is_empty(), "the app has {own:?}");
    let waved = launcher.child("waved");
    let environment = fs::read_to_string(format!("/proc/{waved}/environ")).unwrap();
    assert!(
        !environment.contains("DATABASE_PASSWORD"),
        "waved has the app's secrets"
    );

    launcher.send(Signal::SIGTERM);
    assert_eq!(launcher.exit_code(), Some(STOPPED));
    assert_eq!(pod.termination(), "");
}

#[test]
fn visitors_see_the_phase_until_the_app_answers() {
    let pod = Pod::new();
    let app = "import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.02)\n";
    let body = wave_bundle(app, "h2o-wave\n");
    let digest = digest(&body);
    // Refused for a while, so that there is something to see.
    let store = Store::start(body, &[403; 3]);
    let launcher = pod.start(pod.command(&digest, &format!("http://{}", store.address), &uv()));
    let page = launcher.eventually("a page", || get(pod.port, "/any/path"));
    assert_eq!(page.code, 503);
    assert!(
        page.text.contains("<h1>Sourcing The Wave Application</h1>"),
        "{}",
        page.text
    );
    let starting = launcher.eventually("starting", || {
        let phase = launcher.phase();
        (phase["phase"] == "Starting The Application").then_some(phase)
    });
    assert_eq!(starting["ready"], false);
    let answer = get(pod.health_port, "/readyz").unwrap();
    assert_eq!(
        (answer.code, answer.text.as_str()),
        (503, "not ready: Starting The Application\n")
    );
    fs::write(pod.path("app/go"), "").unwrap();
    launcher.wait_until_ready();
}

#[test]
fn whichever_of_the_pair_dies_both_start_again() {
    let pod = Pod::new();
    let (launcher, _store) = start(&pod, APP, &[]);
    launcher.wait_until_ready();
    for (restarts, victim) in [(1, "uvicorn"), (2, "waved")] {
        let before = [launcher.child("waved"), launcher.child("uvicorn")];
        let old_key = access_key(before[0]);
        signal_to(launcher.child(victim), Signal::SIGKILL);
        let told = launcher.eventually("restarting", || {
            let phase = launcher.phase();
            (phase["restarts"] == restarts).then_some(phase)
        });
        assert_eq!(told["phase"], "Restarting The Application", "{told}");
        assert_eq!(told["ready"], false);
        let message = told["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains("was killed by SIGKILL"), "{message}");
        launcher.wait_until_ready();
        let after = [launcher.child("waved"), launcher.child("uvicorn")];
        assert_ne!(access_key(after[0]), old_key);
        assert!(
            before.iter().all(|pid| !after.contains(pid)),
            "{victim}: {before:?} {after:?}"
        );
    }
}

/// The secret by which waved knows its app.
fn access_key(waved: u32) -> String {
    let environment = fs::read_to_string(format!("/proc/{waved}/environ")).unwrap();
    environment
        .split('\0')
        .find_map(|pair| pair.strip_prefix("H2O_WAVE_ACCESS_KEY_SECRET="))
        .unwrap()
        .to_owned()
}

/// Takes leave of waved when there is a file `leave`, and registers again when it has gone.
const FICKLE: &str = r#"
import base64, json, os, threading, time, urllib.request
def call(method):
    keys = os.environ["H2O_WAVE_ACCESS_KEY_ID"] + ":" + os.environ["H2O_WAVE_ACCESS_KEY_SECRET"]
    request = urllib.request.Request(
        os.environ["H2O_WAVE_ADDRESS"] + "/",
        data=json.dumps({method: {}}).encode(),
        headers={"Authorization": "Basic " + base64.b64encode(keys.encode()).decode()},
    )
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request)
def watch():
    while not os.path.exists("leave"):
        time.sleep(0.02)
    call("unregister_app")
    while os.path.exists("leave"):
        time.sleep(0.02)
    call("register_app")
threading.Thread(target=watch, daemon=True).start()
"#;

#[test]
fn an_app_that_leaves_waved_is_not_ready_until_it_registers_again() {
    let pod = Pod::new();
    let (launcher, _store) = start(&pod, FICKLE, &[]);
    launcher.wait_until_ready();
    fs::write(pod.path("app/leave"), "").unwrap();
    launcher.eventually("unready", || (!launcher.is_ready()).then_some(()));
    assert_eq!(
        launcher.phase()["message"],
        "the app does not answer any more"
    );
    fs::remove_file(pod.path("app/leave")).unwrap();
    launcher.wait_until_ready();
    assert_eq!(launcher.phase()["restarts"], 0, "{}", launcher.log());
}

#[test]
fn an_app_that_leaves_waved_for_good_is_started_again() {
    let pod = Pod::new();
    let (launcher, _store) = start(&pod, FICKLE, &["--silence=300ms"]);
    launcher.wait_until_ready();
    fs::write(pod.path("app/leave"), "").unwrap();
    launcher.eventually("a restart", || {
        let restarts = launcher.phase()["restarts"].as_u64();
        restarts.filter(|restarts| *restarts > 0)
    });
    assert_eq!(
        launcher.phase()["message"],
        "the app did not answer for 300ms, though it runs"
    );
    fs::remove_file(pod.path("app/leave")).unwrap();
    launcher.wait_until_ready();
}

#[test]
fn an_app_that_never_registers_is_told_so_and_left_alone() {
    let pod = Pod::new();
    let app = "import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.02)\n";
    let (launcher, _store) = start(&pod, app, &["--slow-start=300ms"]);
    let told = launcher.eventually("a word", || {
        let phase = launcher.phase();
        let message = phase["message"].as_str()?;
        (phase["phase"] == "Starting The Application").then(|| message.to_owned())
    });
    assert_eq!(
        told,
        "the app has run for 300ms and has not registered with the Wave server yet (hint: its module needs `main` of h2o_wave \
         and a function with `@app(...)`; what it does while it is imported may take long, too)"
    );
    let app = launcher.child("uvicorn");
    fs::write(pod.path("app/go"), "").unwrap();
    launcher.wait_until_ready();
    assert_eq!(launcher.child("uvicorn"), app, "{}", launcher.log());
    assert_eq!(launcher.phase()["message"], serde_json::Value::Null);
}

#[test]
fn an_app_that_cannot_start_ends_the_container_with_the_reason() {
    let pod = Pod::new();
    let app = "raise RuntimeError('the database password is missing')\n";
    let (mut launcher, _store) = start(&pod, app, &[]);
    let reason = "the app ended with code 1: RuntimeError: the database password is missing";
    // After the first crash already.
    let told = launcher.eventually("a reason", || {
        let phase = launcher.phase();
        phase["message"]
            .as_str()
            .filter(|message| message.starts_with("the app"))
            .map(str::to_owned)
    });
    assert_eq!(told, reason);
    assert_eq!(launcher.exit_code(), Some(1));
    assert_eq!(pod.termination(), reason);
    assert_eq!(launcher.log().matches("Traceback").count(), 3);
}

#[test]
fn requirements_that_cannot_be_installed_end_the_container_with_uvs_words() {
    let pod = Pod::new();
    let body = wave_bundle(APP, "no-such-package==9.9.9\n");
    let store = Store::start(body.clone(), &[]);
    let store = format!("http://{}", store.address);
    let mut launcher = pod.start(pod.command(&digest(&body), &store, &uv()));
    assert_eq!(launcher.exit_code(), Some(1));
    assert_eq!(
        pod.termination(),
        "could not install `requirements.txt`: No solution found when resolving dependencies: \
         Because no-such-package was not found in the package registry, no.\nhint: is its name right, and does the index have it \
         that `instances.env` in the store's values names?"
    );
}

#[test]
fn a_stop_while_dependencies_are_installed_leaves_nothing() {
    let pod = Pod::new();
    let body = wave_bundle(APP, "slow-package\n");
    let store = Store::start(body.clone(), &[]);
    let store = format!("http://{}", store.address);
    let mut launcher = pod.start(pod.command(&digest(&body), &store, &uv()));
    let uv = launcher.child("pip install");
    let sleep = launcher.eventually("asleep", || processes::children(uv, "sleep").pop());
    assert_eq!(launcher.phase()["message"], "Resolved 1 package in 1ms");
    launcher.send(Signal::SIGTERM);
    assert_eq!(launcher.exit_code(), Some(STOPPED));
    let gone = eventually(|| (![uv, sleep].iter().any(|pid| processes::lives(*pid))).then_some(()));
    assert!(gone.is_some(), "uv or its child still lives");
}

#[test]
fn a_bundle_with_one_other_bit_is_refused() {
    let body = wave_bundle(APP, "");
    let wanted = digest(&body);
    for bit in [0, body.len() * 4, body.len() * 8 - 1] {
        let pod = Pod::new();
        let mut damaged = body.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let store = Store::start(damaged, &[]);
        let store = format!("http://{}", store.address);
        let mut launcher = pod.start(pod.command(&wanted, &store, &uv()));
        assert_eq!(launcher.exit_code(), Some(1));
        let message = pod.termination();
        assert!(
            message.contains(&format!("instead of `{wanted}`"))
                && message.contains("hint: it was damaged on its way or in the blob store"),
            "{bit}: {message}"
        );
        assert!(!pod.path("app/app.py").exists());
    }
}

#[test]
fn a_store_that_cannot_be_reached_is_named_after_the_deadline() {
    let pod = Pod::new();
    let mut command = pod.command(&digest(b""), "http://127.0.0.1:9", &uv());
    command.arg("--fetch-deadline=1s");
    let mut launcher = pod.start(command);
    let told = launcher.eventually("a reason", || {
        launcher.phase()["message"].as_str().map(str::to_owned)
    });
    assert!(told.contains("Connection refused"), "{told}");
    assert_eq!(launcher.exit_code(), Some(1));
    let message = pod.termination();
    assert!(
        message.starts_with("could not fetch the app's bundle from `http://127.0.0.1:9`"),
        "{message}"
    );
    assert!(
        message.contains("hint: is the store's router running"),
        "{message}"
    );
}

#[test]
fn a_port_in_use_ends_the_launcher_at_once() {
    let pod = Pod::new();
    let _taken = TcpListener::bind(("0.0.0.0", pod.port)).unwrap();
    let mut launcher = pod.start(pod.command(&digest(b""), "http://127.0.0.1:9", &uv()));
    assert_eq!(launcher.exit_code(), Some(1));
    let message = pod.termination();
    assert!(
        message.starts_with(&format!("could not listen on port `{}`", pod.port)),
        "{message}"
    );
}

#[test]
fn arguments_that_make_no_sense_end_with_code_2() {
    let pod = Pod::new();
    let mut command = pod.command(&digest(b""), "http://127.0.0.1:9", &uv());
    command.arg("--app-mode=Python");
    let mut launcher = pod.start(command);
    assert_eq!(launcher.exit_code(), Some(2));
    assert_eq!(launcher.log(), "error: a Python app needs `--app-port`\n");
}

#[test]
fn the_next_container_of_a_pod_starts_without_store_and_uv() {
    let pod = Pod::new();
    let (mut launcher, store) = start(&pod, APP, &[]);
    launcher.wait_until_ready();
    launcher.send(Signal::SIGTERM);
    assert_eq!(launcher.exit_code(), Some(STOPPED));

    let digest = store.asked.lock().unwrap()[0].0.replace("/v1/bundles/", "");
    let command = pod.command(&digest, "http://127.0.0.1:9", Path::new("/no/uv"));
    let again = pod.start(command);
    again.wait_until_ready();
}

pub(crate) const KEY: &str = "abababababababababababababababababababab";

/// Builds the environment of a bundle in a pod of its own; returns its digest.
pub(crate) fn build(body: &[u8], store: &Store) -> String {
    let job = Pod::new();
    let address = format!("http://{}", store.address);
    let mut builder = job.start(job.build(&digest(body), &address, &uv(), KEY));
    assert_eq!(builder.exit_code(), Some(0), "{}", builder.log());
    let report: serde_json::Value = serde_json::from_str(&job.termination()).unwrap();
    assert!(
        !builder.log().contains("first-token"),
        "the token is in the log"
    );
    report["digest"].as_str().unwrap().to_owned()
}

#[test]
fn an_instance_starts_from_the_environment_that_was_built_and_from_no_other() {
    let body = wave_bundle(APP, "h2o-wave\n");
    let store = Store::start(body.clone(), &[]);
    let built = build(&body, &store);
    let path = format!("/v1/environments/{KEY}");
    let stored = store.environments.lock().unwrap()[&path].clone();
    assert_eq!(digest(&stored), built);
    assert_eq!(build(&body, &store), built, "twice the same");

    let start = |pod: &Pod| {
        let mut command = pod.command(&digest(&body), &format!("http://{}", store.address), &uv());
        command
            .env("WAVESTORE_ENVIRONMENT_KEY", KEY)
            .env("WAVESTORE_ENVIRONMENT_DIGEST", &built);
        let launcher = pod.start(command);
        launcher.wait_until_ready();
        launcher
    };
    let restored = "the one that was built at import";
    let pod = Pod::new();
    let mut launcher = start(&pod);
    let log = launcher.log();
    assert!(log.contains(restored) && !log.contains("Resolved"), "{log}");
    let lock = fs::read_to_string(pod.path("resources/venv/requirements.lock")).unwrap();
    assert_eq!(lock, "h2o-wave==1.8.16\n");
    launcher.send(Signal::SIGTERM);
    assert_eq!(launcher.exit_code(), Some(STOPPED));
    let log = start(&pod).log();
    assert!(log.contains("there already"), "{log}");

    let mut changed = stored.clone();
    *changed.last_mut().unwrap() ^= 1;
    let cases = [
        ("another one", Some(changed), "could not"),
        (
            "cut short",
            Some(stored[..stored.len() / 2].to_vec()),
            "could not",
        ),
        ("no archive", Some(b"PK".to_vec()), "could not unpack it"),
        (
            "gone",
            None,
            "could not fetch it: the store answered `404 Not Found`",
        ),
    ];
    for (name, environment, words) in cases {
        let mut environments = store.environments.lock().unwrap();
        match environment {
            Some(environment) => environments.insert(path.clone(), environment),
            None => environments.remove(&path),
        };
        drop(environments);
        let pod = Pod::new();
        let log = start(&pod).log();
        assert!(!log.contains(restored), "{name}: {log}");
        let told = format!("{KEY}, cannot be used, so packages are installed here: {words}");
        assert!(log.contains(&told), "{name}: {log}");
        assert!(log.contains("Resolved"), "{name}: {log}");
    }
}

#[test]
fn a_build_that_fails_leaves_uvs_words_and_stores_nothing() {
    let job = Pod::new();
    let body = wave_bundle(APP, "no-such-package==9.9.9\n");
    let store = Store::start(body.clone(), &[]);
    let address = format!("http://{}", store.address);
    let mut builder = job.start(job.build(&digest(&body), &address, &uv(), KEY));
    assert_eq!(builder.exit_code(), Some(1));
    assert_eq!(
        job.termination(),
        "could not install `requirements.txt`: No solution found when resolving dependencies: \
         Because no-such-package was not found in the package registry, no.\nhint: is its name right, and does the index have it \
         that `instances.env` in the store's values names?"
    );
    assert!(store.environments.lock().unwrap().is_empty());
}

#[test]
fn an_environment_is_stored_when_the_store_is_back() {
    let job = Pod::new();
    let body = wave_bundle(APP, "h2o-wave\n");
    let store = Store::start(body.clone(), &[503, 403, 503]);
    let address = format!("http://{}", store.address);
    let mut builder = job.start(job.build(&digest(&body), &address, &uv(), KEY));
    assert_eq!(builder.exit_code(), Some(0), "{}", builder.log());
    assert_eq!(store.environments.lock().unwrap().len(), 1);
}

#[test]
fn files_from_outside_the_bundle_are_there_in_the_next_container_too() {
    let pod = Pod::new();
    let app = "print('the app reads', open('conf/key.pem').read(), flush=True)\n";
    let body = bundle(&[
        ("app.py", app),
        ("uvicorn.py", include_str!("stand-ins/uvicorn.py")),
        ("requirements.txt", "h2o-wave\n"),
        ("conf/key.pem", "an example"),
    ]);
    let digest = digest(&body);
    let store = Store::start(body, &[]);
    fs::write(pod.path("mounted"), "the key").unwrap();
    let files = serde_json::json!({ "conf/key.pem": pod.path("mounted") });
    for _container in 0..2 {
        let mut command = pod.command(&digest, &format!("http://{}", store.address), &uv());
        command.env("WAVESTORE_APP_FILES", files.to_string());
        let mut launcher = pod.start(command);
        launcher.wait_until_ready();
        let log = launcher.log();
        assert!(log.contains("the app reads the key"), "{log}");
        launcher.send(Signal::SIGTERM);
        assert_eq!(launcher.exit_code(), Some(STOPPED));
    }
}

/// Leaves three things behind: zombies for the launcher, a process in a session of its own, and a refusal to
/// stop.
const STUBBORN: &str = r#"
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(20):
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.wait()
stray = subprocess.Popen(["sleep", "600"], start_new_session=True)
member = subprocess.Popen(["sleep", "601"])
open("stray", "w").write(f"{stray.pid} {member.pid}")
"#;

#[test]
fn nothing_is_left_after_a_stop_even_of_a_stubborn_app() {
    let pod = Pod::new();
    let (mut launcher, _store) = start(&pod, STUBBORN, &["--grace=1s"]);
    launcher.wait_until_ready();
    let pid = launcher.pid();
    launcher.eventually("free of zombies", || {
        let zombies = processes::all()
            .into_iter()
            .any(|seen| seen.parent == pid && seen.is_zombie);
        (!zombies).then_some(())
    });
    let left: Vec<u32> = fs::read_to_string(pod.path("app/stray"))
        .unwrap()
        .split(' ')
        .map(|pid| pid.parse().unwrap())
        .chain([launcher.child("waved"), launcher.child("uvicorn")])
        .collect();
    assert!(left.iter().all(|pid| processes::lives(*pid)), "{left:?}");

    launcher.send(Signal::SIGTERM);
    assert_eq!(launcher.exit_code(), Some(STOPPED));
    let gone = eventually(|| (!left.iter().any(|pid| processes::lives(*pid))).then_some(()));
    assert!(gone.is_some(), "of {left:?} some still live");
}

/// A web server that is no Wave app.
const SERVER: &str = r#"
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{self.path} {sys.argv[1:]}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

#[test]
fn a_python_app_is_reached_through_the_pods_port() {
    let pod = Pod::new();
    let body = bundle(&[("src/server.py", SERVER)]);
    let store = Store::start(body.clone(), &[]);
    let mut command = pod.command(&digest(&body), &format!("http://{}", store.address), &uv());
    command
        .arg("--app-mode=Python")
        .env("WAVESTORE_APP_MODULE", "src/server.py")
        .env("WAVESTORE_APP_PORT", pod.internal_port.to_string())
        .env("WAVESTORE_APP_ARGS", r#"["--theme", "dark blue"]"#);
    let mut launcher = pod.start(command);
    launcher.wait_until_ready();
    let answer = get(pod.port, "/some/path?q=1").unwrap();
    assert_eq!(answer.text, "/some/path?q=1 ['--theme', 'dark blue']");

    signal_to(launcher.child("-m src.server"), Signal::SIGKILL);
    let page = launcher.eventually("a page", || {
        get(pod.port, "/").filter(|answer| answer.code == 503)
    });
    assert!(
        page.text.contains("<h1>Restarting The Application</h1>"),
        "{}",
        page.text
    );
    launcher.wait_until_ready();
    launcher.send(Signal::SIGINT);
    assert_eq!(launcher.exit_code(), Some(STOPPED));
}
