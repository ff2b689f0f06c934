//! `Pod`: folders, ports and a launcher in them.

use std::fs::{self, File};
use std::io::{Cursor, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::processes;

/// A test's patience. The machine may be busy.
const PATIENCE: Duration = Duration::from_mins(1);

/// Code of a launcher that was asked to stop.
pub(crate) const STOPPED: i32 = 143;

/// The folders of a pod, and its ports.
pub(crate) struct Pod {
    folder: tempfile::TempDir,
    pub(crate) port: u16,
    pub(crate) health_port: u16,
    pub(crate) internal_port: u16,
}

/// A running launcher. Dropping it kills it with all it started.
pub(crate) struct Launcher {
    child: Child,
    log: PathBuf,
    health_port: u16,
}

/// An answer over HTTP.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) text: String,
}

impl Pod {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["app", "resources", "scratch"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        for (name, text) in [("token", "first-token\n"), ("termination", "")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let [port, health_port, internal_port] = free_ports();
        Self {
            folder,
            port,
            health_port,
            internal_port,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn termination(&self) -> String {
        fs::read_to_string(self.path("termination")).unwrap()
    }

    /// The launcher's command, without what differs from test to test.
    pub(crate) fn command(&self, digest: &str, store: &str, uv: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wavestore-launcher"));
        command
            .env("WAVESTORE_INSTANCE", "sales")
            .env("WAVESTORE_APP_MODULE", "app")
            .arg(format!("--port={}", self.port))
            .arg(format!("--health-port={}", self.health_port))
            .arg(format!("--internal-port={}", self.internal_port));
        self.site(&mut command, digest, store, uv);
        command
    }

    /// The command that builds an environment.
    pub(crate) fn build(&self, digest: &str, store: &str, uv: &Path, key: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wavestore-launcher"));
        command.arg("build").env("WAVESTORE_ENVIRONMENT_KEY", key);
        self.site(&mut command, digest, store, uv);
        command
    }

    fn site(&self, command: &mut Command, digest: &str, store: &str, uv: &Path) {
        command
            .arg(format!("--bundle-digest={digest}"))
            .arg(format!("--store-url={store}"))
            .arg("--token-file")
            .arg(self.path("token"))
            .arg("--app-dir")
            .arg(self.path("app"))
            .arg("--resources-dir")
            .arg(self.path("resources"))
            .arg("--scratch-dir")
            .arg(self.path("scratch"))
            .arg("--termination-log")
            .arg(self.path("termination"))
            .arg("--uv")
            .arg(uv);
    }

    /// Starts a launcher.
    pub(crate) fn start(&self, mut command: Command) -> Launcher {
        let log = self.path("log");
        let out = File::create(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Launcher {
            child,
            log,
            health_port: self.health_port,
        }
    }
}

impl Launcher {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    pub(crate) fn phase(&self) -> Value {
        get(self.health_port, "/phase")
            .and_then(|answer| serde_json::from_str(&answer.text).ok())
            .unwrap_or(Value::Null)
    }

    pub(crate) fn is_ready(&self) -> bool {
        get(self.health_port, "/readyz").is_some_and(|answer| answer.code == 200)
    }

    pub(crate) fn wait_until_ready(&self) {
        self.eventually("ready", || self.is_ready().then_some(()));
    }

    /// Waits for a condition.
    pub(crate) fn eventually<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        eventually(look).unwrap_or_else(|| panic!("never {what}; the log:\n{}", self.log()))
    }

    /// The one living child whose command has `part` in it, once there is one.
    pub(crate) fn child(&self, part: &str) -> u32 {
        self.eventually(part, || match processes::children(self.pid(), part)[..] {
            [pid] => Some(pid),
            _ => None,
        })
    }

    pub(crate) fn send(&self, signal: Signal) {
        signal_to(self.pid(), signal);
    }

    /// Waits for its end; returns its exit code.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let child = &mut self.child;
        let status = eventually(|| child.try_wait().unwrap());
        status
            .unwrap_or_else(|| panic!("never ended; the log:\n{}", self.log()))
            .code()
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        // Its children first: they would be left to nobody.
        for seen in processes::all() {
            if seen.parent == self.child.id() {
                signal_to(seen.pid, Signal::SIGKILL);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn signal_to(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
}

/// Looks until there is something, or patience ends.
pub(crate) fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() > end {
            return None;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// `GET` on the loopback interface; nothing when nobody answers.
pub(crate) fn get(port: u16, path: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let _ = stream.shutdown(Shutdown::Both);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some(Answer {
        code: head.split(' ').nth(1)?.parse().ok()?,
        text: body.to_owned(),
    })
}

/// Ports below those that the system hands out by itself: one of these, let go and not taken yet, could meanwhile go to
/// any client's connection. Control planes of other tests begin at 20000 (`e2e/cluster/control_plane.sh`).
fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    [(); N].map(|()| {
        loop {
            let port = NEXT.fetch_add(1, Ordering::Relaxed);
            assert!(port < 20_000, "all ports are taken");
            if TcpListener::bind(("0.0.0.0", port)).is_ok() {
                break port;
            }
        }
    })
}

/// A zip archive of these files.
pub(crate) fn bundle(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}
