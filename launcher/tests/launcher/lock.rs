//! An environment that is made again has the same in it, with the real uv, and packages that appear and disappear.

use std::fs;
use std::path::Path;

use crate::pod::{Pod, bundle};
use crate::stand_ins::KEY;
use crate::store::{Store, digest};
use crate::wave::uv;

const SERVER: &str = "import http.server, os\n\
                      http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), http.server.SimpleHTTPRequestHandler).serve_forever()\n";

/// Puts a package into the folder that serves as index.
fn publish(folder: &Path, version: &str) {
    let info = format!("tiny-{version}.dist-info");
    let wheel = bundle(&[
        ("tiny/__init__.py", ""),
        (
            &format!("{info}/METADATA"),
            &format!("Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n"),
        ),
        (
            &format!("{info}/WHEEL"),
            "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        ),
        (
            &format!("{info}/RECORD"),
            &format!("tiny/__init__.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"),
        ),
    ]);
    fs::write(folder.join(wheel_name(version)), wheel).unwrap();
}

fn wheel_name(version: &str) -> String {
    format!("tiny-{version}-py3-none-any.whl")
}

#[test]
fn an_environment_is_made_again_of_the_same_versions() {
    let index = tempfile::tempdir().unwrap();
    let body = bundle(&[("server.py", SERVER), ("requirements.txt", "tiny>=1\n")]);
    let store = Store::start(body.clone(), &[]);
    let address = format!("http://{}", store.address);
    let path = format!("/v1/environments/{KEY}");
    let lock = || String::from_utf8(store.locks.lock().unwrap()[&path].clone()).unwrap();
    let make = || {
        let job = Pod::new();
        let mut command = job.build(&digest(&body), &address, &uv(), KEY);
        command
            .env("UV_FIND_LINKS", index.path())
            .env("UV_NO_INDEX", "1");
        let mut builder = job.start(command);
        assert_eq!(builder.exit_code(), Some(0), "{}", builder.log());
        builder.log()
    };

    publish(index.path(), "1.0");
    make();
    assert_eq!(lock(), "tiny==1.0\n");

    publish(index.path(), "2.0");
    let log = make();
    assert!(log.contains("+ tiny==1.0"), "{log}");
    assert_eq!(lock(), "tiny==1.0\n");

    // A pod for which the environment is gone.
    let built = store.environments.lock().unwrap().remove(&path).unwrap();
    let pod = Pod::new();
    let mut command = pod.command(&digest(&body), &address, &uv());
    command
        .arg("--app-mode=Python")
        .env("WAVESTORE_APP_MODULE", "server")
        .env("WAVESTORE_APP_PORT", pod.internal_port.to_string())
        .env("WAVESTORE_ENVIRONMENT_KEY", KEY)
        .env("WAVESTORE_ENVIRONMENT_DIGEST", digest(&built))
        .env("UV_FIND_LINKS", index.path())
        .env("UV_NO_INDEX", "1");
    let launcher = pod.start(command);
    launcher.wait_until_ready();
    let log = launcher.log();
    assert!(log.contains("+ tiny==1.0"), "{log}");

    fs::remove_file(index.path().join(wheel_name("1.0"))).unwrap();
    let log = make();
    assert!(
        log.contains("The versions of the last time cannot all be had any more"),
        "{log}"
    );
    assert_eq!(lock(), "tiny==2.0\n");
}
