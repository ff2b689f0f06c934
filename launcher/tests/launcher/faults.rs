//! What goes wrong around the launcher: each ends healed, or with one sentence that names the cause and the fix.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::mpsc::Sender;
use std::thread;

use nix::sys::signal::Signal;

use crate::pod::{Launcher, Pod, bundle, get, signal_to};
use crate::processes;
use crate::stand_ins::{APP, KEY, build, start, uv, wave_bundle};
use crate::store::{Store, digest};

/// Places at which a download breaks off.
const CUTS: usize = 20;

/// Launchers that are tried side by side.
const AT_ONCE: usize = 4;

const RESTORED: &str = "the one that was built at import";

/// Starts a launcher that is to use the environment `built`.
fn start_prepared(pod: &Pod, body: &[u8], store: &Store, built: &str) -> Launcher {
    let address = format!("http://{}", store.address);
    let mut command = pod.command(&digest(body), &address, &uv());
    command
        .env("WAVESTORE_ENVIRONMENT_KEY", KEY)
        .env("WAVESTORE_ENVIRONMENT_DIGEST", built);
    pod.start(command)
}

#[test]
fn a_download_that_breaks_off_anywhere_is_done_again() {
    let body = wave_bundle(APP, "h2o-wave\n");
    let model = Store::start(body.clone(), &[]);
    let built = build(&body, &model);
    let environments = model.environments.lock().unwrap().clone();
    let size = environments.values().next().map_or(0, Vec::len);
    let cut_at = |part: usize| {
        let store = Store::start(body.clone(), &[]);
        store.environments.lock().unwrap().clone_from(&environments);
        // The bundle comes first, then the environment; each breaks off once.
        let (of_bundle, of_environment) = (body.len() * part / CUTS, size * part / CUTS);
        let whole = usize::MAX;
        *store.cuts.lock().unwrap() = vec![of_environment, whole, of_bundle];
        let pod = Pod::new();
        let launcher = start_prepared(&pod, &body, &store, &built);
        launcher.wait_until_ready();
        let log = launcher.log();
        assert!(log.contains(RESTORED), "{part}: {log}");
        assert_eq!(log.matches("Trying again").count(), 2, "{part}: {log}");
        assert!(!log.contains("Resolved"), "{part}: {log}");
    };
    for parts in (0..CUTS).collect::<Vec<_>>().chunks(AT_ONCE) {
        thread::scope(|scope| {
            for part in parts {
                scope.spawn(|| cut_at(*part));
            }
        });
    }
}

#[test]
fn a_store_that_refuses_for_a_while_still_gives_the_environment() {
    let body = wave_bundle(APP, "h2o-wave\n");
    let model = Store::start(body.clone(), &[]);
    let built = build(&body, &model);
    // The first answer is the bundle's.
    let store = Store::start(body.clone(), &[0, 503, 500, 429]);
    let environments = model.environments.lock().unwrap().clone();
    *store.environments.lock().unwrap() = environments;
    let pod = Pod::new();
    let launcher = start_prepared(&pod, &body, &store, &built);
    launcher.wait_until_ready();
    let log = launcher.log();
    assert!(
        log.contains("503") && log.contains("500") && log.contains("429"),
        "{log}"
    );
    assert!(log.contains(RESTORED), "{log}");
}

/// Waits until the launcher has found the store away a few times, then lets it come back.
fn come_back(launcher: &Launcher, store: &Sender<()>) {
    launcher.eventually("three tries", || {
        let tries = launcher.log().matches("Trying again").count();
        (tries >= 3).then_some(())
    });
    store.send(()).unwrap();
}

#[test]
fn a_store_that_goes_away_at_any_time_is_waited_for() {
    let body = wave_bundle(APP, "h2o-wave\n");
    let model = Store::start(body.clone(), &[]);
    let built = build(&body, &model);
    let environments = model.environments.lock().unwrap().clone();
    for (phase, answers) in [
        ("Sourcing The Wave Application", 0),
        ("Installing Application Dependencies", 1),
    ] {
        let (store, back) = Store::leaving(body.clone(), answers);
        store.environments.lock().unwrap().clone_from(&environments);
        let pod = Pod::new();
        let launcher = start_prepared(&pod, &body, &store, &built);
        launcher.eventually(phase, || {
            let status = launcher.phase();
            let message = status["message"].as_str()?;
            (status["phase"] == phase && message.contains("could not connect: Connection refused"))
                .then_some(())
        });
        come_back(&launcher, &back);
        launcher.wait_until_ready();
        let log = launcher.log();
        assert!(log.contains(RESTORED), "{phase}: {log}");
        assert_eq!(launcher.phase()["message"], serde_json::Value::Null);
    }

    // The job that has built an environment, and cannot store it: it has got the bundle, found no lock, and stored one.
    let (store, back) = Store::leaving(body.clone(), 3);
    let job = Pod::new();
    let address = format!("http://{}", store.address);
    let mut builder = job.start(job.build(&digest(&body), &address, &uv(), KEY));
    come_back(&builder, &back);
    assert_eq!(builder.exit_code(), Some(0), "{}", builder.log());
    assert_eq!(*store.environments.lock().unwrap(), environments);
}

#[test]
fn an_app_that_runs_does_not_need_the_store() {
    let body = wave_bundle(APP, "h2o-wave\n");
    let (store, _back) = Store::leaving(body.clone(), 1);
    let pod = Pod::new();
    let address = format!("http://{}", store.address);
    let launcher = pod.start(pod.command(&digest(&body), &address, &uv()));
    launcher.wait_until_ready();
    let app = launcher.child("uvicorn");
    signal_to(app, Signal::SIGKILL);
    launcher.eventually("another app", || {
        (launcher.is_ready() && launcher.phase()["restarts"] == 1).then_some(())
    });
    assert_eq!(store.asked.lock().unwrap().len(), 1);
}

/// A web server that hangs while there is a file `hang`.
const HANGING: &str = r#"
import http.server, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        while os.path.exists("hang"):
            time.sleep(0.02)
        self.send_response(204)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

#[test]
fn an_app_that_hangs_is_told_so_and_left_alone() {
    let pod = Pod::new();
    let body = bundle(&[("server.py", HANGING)]);
    let store = Store::start(body.clone(), &[]);
    let mut command = pod.command(&digest(&body), &format!("http://{}", store.address), &uv());
    command
        .args(["--app-mode=Python", "--silence=300ms"])
        .env("WAVESTORE_APP_MODULE", "server")
        .env("WAVESTORE_APP_PORT", pod.internal_port.to_string());
    let launcher = pod.start(command);
    launcher.wait_until_ready();
    let app = launcher.child("-m server");
    fs::write(pod.path("app/hang"), "").unwrap();
    let visit = || {
        thread::spawn({
            let port = pod.port;
            move || get(port, "/")
        })
    };
    // One is let in and waits for an answer; nobody knows but this one. The other is not let in.
    let visits = [visit(), visit()];
    let told = launcher.eventually("told", || {
        let status = launcher.phase();
        (status["phase"] == "Not Responding").then_some(status)
    });
    assert_eq!(told["ready"], false);
    let message = told["message"].as_str().unwrap_or_default();
    assert!(
        message.starts_with("the app has let somebody wait for 300ms, though it runs")
            && message.contains("hint: "),
        "{message}"
    );
    fs::remove_file(pod.path("app/hang")).unwrap();
    launcher.wait_until_ready();
    for visit in visits {
        assert_eq!(visit.join().unwrap().map(|answer| answer.code), Some(204));
    }
    assert_eq!(launcher.child("-m server"), app, "{}", launcher.log());
    let status = launcher.phase();
    assert_eq!(
        (&status["restarts"], &status["message"]),
        (&0.into(), &serde_json::Value::Null)
    );
}

#[test]
fn a_full_disk_is_named() {
    let pod = Pod::new();
    let body = wave_bundle(&format!("# {}\n{APP}", "x".repeat(4 << 20)), "h2o-wave\n");
    let store = Store::start(body.clone(), &[]);
    let address = format!("http://{}", store.address);
    let model = pod.command(&digest(&body), &address, &uv());
    // A file system of its own for the app's folder, which only this process sees.
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "--", "sh", "-c"])
        .arg("mount -t tmpfs -o size=1m tmpfs \"$1\" && shift && exec \"$@\"")
        .args([
            "sh".as_ref(),
            pod.path("app").as_os_str(),
            model.get_program(),
        ])
        .args(model.get_args());
    for (name, value) in model.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let mut launcher = pod.start(command);
    assert_eq!(launcher.exit_code(), Some(1), "{}", launcher.log());
    let told = pod.termination();
    assert!(
        told.contains("app.py")
            && told.contains("No space left on device")
            && told.contains("hint: make room on the disk of the pod's node"),
        "{told}"
    );
}

#[test]
fn an_app_that_ends_by_itself_has_failed_whatever_it_says() {
    let pod = Pod::new();
    let (mut launcher, _store) = start(&pod, "import sys\nsys.exit(0)\n", &[]);
    let code = launcher.exit_code();
    assert_eq!(code, Some(1), "{}", launcher.log());
    assert_eq!(pod.termination(), "the app ended with code 0");
}

/// Of a launcher: its memory in KiB, open files, threads, children.
fn burden(pid: u32) -> Option<[usize; 4]> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let children = tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok())
        .map(|children| children.split_whitespace().count())
        .sum();
    Some([number("VmRSS:")?, files, number("Threads:")?, children])
}

/// Watches a launcher until it has started its app `restarts` times again, or has ended; returns the most of everything that it had.
fn watch(launcher: &Launcher, restarts: u64) -> [usize; 4] {
    let mut most = [0; 4];
    launcher.eventually(&format!("restart {restarts}"), || {
        let status = launcher.phase();
        let Some(seen) = status["restarts"].as_u64() else {
            return (most[0] > 0).then_some(());
        };
        let told = status["message"].as_str().unwrap_or_default();
        assert!(told.len() < 2_000, "{} bytes", told.len());
        if let Some(burden) = burden(launcher.pid()) {
            most = std::array::from_fn(|index| burden[index].max(most[index]));
        }
        (seen >= restarts).then_some(())
    });
    most
}

#[test]
fn a_hundred_restarts_leave_nothing_behind() {
    let pod = Pod::new();
    // It says much, and leaves an orphan each time.
    let app = "import subprocess\nsubprocess.Popen(['sleep', '600'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)\n\
               raise RuntimeError('x' * 5_000)\n";
    let body = bundle(&[("server.py", app)]);
    let store = Store::start(body.clone(), &[]);
    let mut command = pod.command(&digest(&body), &format!("http://{}", store.address), &uv());
    command
        .args([
            "--app-mode=Python",
            "--start-attempts=101",
            "--restart-delay=1ms",
            "--longest-restart-delay=5ms",
        ])
        .env("WAVESTORE_APP_MODULE", "server")
        .env("WAVESTORE_APP_PORT", pod.internal_port.to_string());
    let mut launcher = pod.start(command);
    watch(&launcher, 10);
    let early = watch(&launcher, 40);
    watch(&launcher, 70);
    let late = watch(&launcher, 100);
    assert_eq!(launcher.exit_code(), Some(1));
    let told = pod.termination();
    assert!(
        told.starts_with("the app ended with code 1: RuntimeError: xxx") && told.len() < 2_000,
        "{told}"
    );
    let log = launcher.log();
    assert_eq!(log.matches("Starting again in").count(), 100);
    assert!(log.contains("Giving up after 101 attempts"));
    // A little is chance: what was under way when it was looked at.
    let room = [4096, 4, 2, 3];
    for (index, room) in room.into_iter().enumerate() {
        assert!(
            late[index] <= early[index] + room,
            "memory, files, threads, children: {early:?}, then {late:?}"
        );
    }
}

#[test]
fn children_that_an_app_leaves_behind_are_buried() {
    let pod = Pod::new();
    // Each child makes one of its own and ends, so that its child is an orphan, which ends at once.
    let app = "import os\nfor _ in range(50):\n    if os.fork() == 0:\n        os.fork()\n        os._exit(0)\n    os.wait()\n";
    let (launcher, _store) = start(&pod, app, &[]);
    launcher.wait_until_ready();
    launcher.eventually("all buried", || {
        let children = processes::all().into_iter();
        let dead = children.filter(|seen| seen.parent == launcher.pid() && seen.is_zombie);
        (dead.count() == 0).then_some(())
    });
}

/// Debian's package libfaketime.
const FAKETIME: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

#[test]
fn a_clock_that_steps_by_an_hour_disturbs_nothing() {
    let library = FAKETIME.into_iter().find(|file| fs::exists(file).unwrap());
    let library = library.expect("there is no libfaketime: run `make prerequisites`");
    let pod = Pod::new();
    let step = |offset: &str| fs::write(pod.path("offset"), offset).unwrap();
    step("+0");
    let body = wave_bundle(APP, "h2o-wave\n");
    let (store, back) = Store::leaving(body.clone(), 0);
    let mut command = pod.command(&digest(&body), &format!("http://{}", store.address), &uv());
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", pod.path("offset"))
        .env("FAKETIME_NO_CACHE", "1")
        // As a step of the real clock, which leaves the monotonic one alone.
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let launcher = pod.start(command);
    let tries = |count: usize| {
        launcher.eventually("tries", || {
            (launcher.log().matches("Trying again").count() >= count).then_some(())
        });
    };
    // While it waits for the store, with a deadline of minutes.
    tries(1);
    step("+3600");
    tries(2);
    step("-3600");
    tries(3);
    back.send(()).unwrap();
    launcher.wait_until_ready();
    // While the app runs, and is started again.
    for (restarts, offset) in [(1, "+3600"), (2, "-3600"), (3, "+0")] {
        step(offset);
        signal_to(launcher.child("uvicorn"), Signal::SIGKILL);
        launcher.eventually("another app", || {
            (launcher.is_ready() && launcher.phase()["restarts"] == restarts).then_some(())
        });
    }
    let log = launcher.log();
    let is_time = |text: &&str| text.starts_with("20") && text.as_bytes().get(10) == Some(&b'T');
    let hours = log.lines().filter_map(|line| line.get(..13));
    let hours: BTreeSet<&str> = hours.filter(is_time).collect();
    assert!(hours.len() > 2, "the clock did not step: {hours:?}");
}
