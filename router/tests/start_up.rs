//! What the process says when it cannot start.

use std::process::{Command, Output};

use tempfile::TempDir;

/// Runs the router with settings that are right but for `args`, which come last and count.
fn run(folder: &TempDir, args: &[&str]) -> Output {
    let path = folder.path().display();
    std::fs::create_dir_all(folder.path().join("blobs")).expect("a folder");
    Command::new(env!("CARGO_BIN_EXE_wavestore-router"))
        .env_clear()
        .env("RUST_LOG", "off")
        .env("KUBECONFIG", folder.path().join("no-kubeconfig"))
        .env("WAVESTORE_LISTEN", "127.0.0.1:0")
        .env("WAVESTORE_INTERNAL_LISTEN", "127.0.0.1:0")
        .env(
            "WAVESTORE_DATABASE_URL",
            format!("sqlite://{path}/catalog.db"),
        )
        .env("WAVESTORE_BLOBS", format!("file://{path}/blobs"))
        .args(args)
        .output()
        .expect("the router runs")
}

#[test]
fn each_failure_names_what_is_wrong_and_what_to_do() {
    let folder = TempDir::new().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken
        .local_addr()
        .map(|address| (taken, address.to_string()))
        .expect("an address");
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "\n").expect("a file");
    let empty = empty.to_str().expect("text");
    let cases: [(&str, &[&str], i32, &[&str]); 7] = [
        (
            "a flag that is none",
            &["--nothing"],
            2,
            &["--nothing", "Usage"],
        ),
        (
            "an address that is none",
            &["--store-url", "localhost:8080"],
            2,
            &["`--store-url` is `localhost:8080`", "hint: "],
        ),
        (
            "a port in use",
            &["--listen", &taken.1],
            1,
            &[
                "could not listen on",
                &taken.1,
                "hint: another process has this port",
            ],
        ),
        (
            "no password file",
            &["--admin-password-file", "/nowhere/password"],
            1,
            &[
                "could not read the password file `/nowhere/password`",
                "hint: mount a Secret",
            ],
        ),
        (
            "an empty password file",
            &["--admin-password-file", empty],
            1,
            &["is empty", "hint: write"],
        ),
        (
            "no folder for blobs",
            &["--blobs", "file:///nowhere/blobs"],
            1,
            &["/nowhere/blobs", "hint: create"],
        ),
        (
            "no cluster",
            &[],
            1,
            &[
                "could not find out how to reach the Kubernetes API",
                "hint: run in a pod",
            ],
        ),
    ];
    for (name, args, code, words) in cases {
        let output = run(&folder, args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{name}: {said}");
        for word in words {
            assert!(said.contains(word), "{name}: {said}");
        }
    }
}
