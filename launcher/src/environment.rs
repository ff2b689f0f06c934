//! The app's environment, of Python's packages and of Debian's: brought from the store, where a job has built it at import, or made
//! by uv and apt here. It is kept for the next container of the same pod.

mod archive;
mod fingerprint;
mod key;
mod lock;
mod packages;
mod restore;
mod writers;

use std::env;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use bundle::{Packages, Requirements};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::backoff;
use crate::commands::{self, Bytecode};
use crate::digest::Digest;
use crate::error::{Error, chain};
use crate::fetch::GivenUp;
use crate::phase::Board;
use crate::process::{Ended, Host, OnLine, Plan, Process};
use crate::reason;
use crate::settings::{App, Prepared, Settings, Site};

use fingerprint::fingerprint;
pub(crate) use key::EnvironmentKey;
pub(crate) use lock::Lock;
pub(crate) use packages::Places;

/// Holds the fingerprint of what the environment was made from, or the digest of the one that it was brought from, once it is
/// complete.
const MARKER: &str = ".wavestore-environment";

/// What is in an environment, for who looks into it.
const LOCK: &str = "requirements.lock";

/// Of what is written of a packed environment at a time.
const PACK_BUFFER: usize = 256 << 10;

/// First words of the lines by which uv tells its progress.
const PROGRESS: [&str; 6] = [
    "Resolved",
    "Downloading",
    "Building",
    "Prepared",
    "Installed",
    "Updating",
];

/// What the app wants to be in its environment.
struct Wanted {
    requirements: Option<Requirements>,
    packages: Option<Packages>,
}

impl Wanted {
    async fn read(app: &Path) -> Result<Self, Error> {
        Ok(Self {
            requirements: read_requirements(app).await?,
            packages: read_packages(app).await?,
        })
    }

    fn fingerprint(&self, python: &str, bundle: &Digest) -> String {
        let (requirements, packages) = (self.requirements.as_ref(), self.packages.as_ref());
        fingerprint(python, requirements, packages, bundle)
    }
}

/// Makes the environment, unless it is there already: from the one that was built at import, or else by uv.
pub(crate) async fn prepare(
    settings: &Settings,
    host: &Host,
    board: &Arc<Board>,
) -> Result<(), Error> {
    let site = &settings.site;
    let wanted = Wanted::read(&site.folders.app).await?;
    let python = python_version(site, host).await?;
    let own = wanted.fingerprint(&python, &site.digest);
    let built = settings
        .prepared
        .map(|prepared| prepared.digest.to_string());
    let marker = site.folders.venv.join(MARKER);
    let present = tokio::fs::read_to_string(&marker).await.ok();
    let present = present.as_deref().map(str::trim);
    if present.is_some_and(|present| present == own || Some(present) == built.as_deref()) {
        info!("The Python environment is there already");
    } else {
        let made = match &settings.prepared {
            Some(prepared) if restore(site, host, board, prepared, &python).await? => {
                prepared.digest.to_string()
            }
            prepared => {
                let lock = match prepared {
                    Some(prepared) => known_lock(site, &prepared.key).await,
                    None => None,
                };
                let lock = lock.as_ref();
                install(site, host, board, &wanted, Bytecode::AtImport, lock).await?;
                own
            }
        };
        write(&marker, format!("{made}\n")).await?;
    }
    match &settings.app {
        App::Wave { .. } => check_wave(&site.folders.venv),
        App::Python { .. } => Ok(()),
    }
}

/// Brings the environment that was built at import. Whatever is wrong with it, the app can do without: false then.
async fn restore(
    site: &Site,
    host: &Host,
    board: &Board,
    prepared: &Prepared,
    python: &str,
) -> Result<bool, Error> {
    let key = prepared.key;
    let started = Instant::now();
    let mut tries = 0;
    loop {
        tries += 1;
        // Empty, also after a try that broke off.
        make_venv(site, host, &quiet()).await?;
        let failure = match restore::restore(site, prepared, &made_for(python)).await {
            Ok(size_bytes) => {
                info!(
                    environment.size_bytes = size_bytes,
                    "The Python environment is the one that was built at import, {key}"
                );
                return Ok(true);
            }
            Err(failure) => failure,
        };
        let why = chain(&failure);
        let Some(delay) = failure.retry(tries, started.elapsed()) else {
            warn!(
                "The environment that was built at import, {key}, cannot be used, so packages are installed here: {why}"
            );
            return Ok(false);
        };
        warn!("Trying again in {delay:.1?} to get the environment that was built at import: {why}");
        board.tell(&format!(
            "could not get the app's packages from the store yet: {why}"
        ));
        backoff::pause(delay).await;
    }
}

/// The versions that were built at import, if the store tells them. That it did not give the environment itself was waited for.
async fn known_lock(site: &Site, key: &EnvironmentKey) -> Option<Lock> {
    match site.store().lock(key).await {
        Ok(lock) => lock,
        Err(failure) => {
            warn!(
                "The versions that were built at import, {key}, cannot be asked for, so they may be others here: {}",
                chain(&failure)
            );
            None
        }
    }
}

/// What an environment that is made here can be used for.
fn made_for(python: &str) -> String {
    format!("{python} {} {}", env::consts::OS, env::consts::ARCH)
}

/// Installs what the app requires into an environment of its own, in the versions of `lock` if they can all be had. Answers
/// whether they could.
async fn install(
    site: &Site,
    host: &Host,
    board: &Arc<Board>,
    wanted: &Wanted,
    bytecode: Bytecode,
    lock: Option<&Lock>,
) -> Result<bool, Error> {
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
    make_venv(site, host, &on_line).await?;
    let mut is_locked = lock.is_some();
    if wanted.requirements.is_some() {
        let constraints = match lock {
            Some(lock) => Some(lock.write(&site.folders.scratch).await?),
            None => None,
        };
        let plan = commands::install(site, bytecode, constraints.as_deref());
        let mut installed = run(&plan, host, &on_line).await?;
        // Nothing else that may go wrong is a reason for other versions.
        if is_locked && !installed.exit.is_success() && reason::is_unsolvable(&installed.tail) {
            warn!(
                "The versions of the last time cannot all be had any more, so others are looked for: {}",
                failure(&installed)
            );
            is_locked = false;
            let plan = commands::install(site, bytecode, None);
            installed = run(&plan, host, &on_line).await?;
        }
        if !installed.exit.is_success() {
            let failure = failure(&installed);
            let hint = refusal(site, host, &failure).await?;
            return Err(Error::Install(failure + &hint));
        }
    } else {
        info!("The bundle has no requirements.txt: nothing to install");
    }
    if let Some(packages) = &wanted.packages {
        packages::install(site, host, board, packages).await?;
    }
    // Only ours: a shared cache (UV_CACHE_DIR) is not there. The environment has links to the same files.
    let _ = tokio::fs::remove_dir_all(&site.folders.cache).await;
    Ok(is_locked)
}

/// What uv knows of an index that has refused to answer, where a package seems not to be there.
async fn refusal(site: &Site, host: &Host, failure: &str) -> Result<String, Error> {
    if !failure.contains("was not found in the package registry") || failure.contains("hint:") {
        return Ok(String::new());
    }
    let tried = run(&commands::explain(site), host, &quiet()).await?;
    let told = self::failure(&tried);
    let hint = told.find(" hint: ").map(|at| told[at..].to_owned());
    Ok(hint.unwrap_or_default())
}

async fn make_venv(site: &Site, host: &Host, on_line: &OnLine) -> Result<(), Error> {
    let made = run(&commands::venv(site), host, on_line).await?;
    if made.exit.is_success() {
        Ok(())
    } else {
        Err(Error::Environment(failure(&made)))
    }
}

fn quiet() -> OnLine {
    Arc::new(|_line| {})
}

/// A packed environment.
pub(crate) struct Packed {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// Makes the environment of the bundle that is there, and packs it, with the exact versions of all that is in it. The store keeps
/// these, too, for the next time.
pub(crate) async fn build(
    site: &Site,
    key: &EnvironmentKey,
    host: &Host,
    board: &Arc<Board>,
) -> Result<Packed, Error> {
    let folders = &site.folders;
    let wanted = Wanted::read(&folders.app).await?;
    let python = python_version(site, host).await?;
    let store = site.store();
    let known = store.persist(|_| {}, async || store.lock(key).await, not_locked);
    let known = known.await?;
    let is_locked = install(site, host, board, &wanted, Bytecode::Ahead, known.as_ref()).await?;
    let versions = versions(site, host).await?;
    if !is_locked {
        let lock = Lock::of(&versions);
        let stored = store.persist(
            |_| {},
            async || store.put_lock(key, &lock).await,
            not_locked,
        );
        stored.await?;
    }
    write(&folders.venv.join(LOCK), versions).await?;
    let packing = tokio::task::spawn_blocking({
        let (venv, into) = (folders.venv.clone(), folders.packed.clone());
        move || pack(&venv, &made_for(&python), &into)
    });
    let packed = packing.await.expect("packing does not panic");
    packed.map_err(Error::Pack)
}

async fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), Error> {
    tokio::fs::write(path, content)
        .await
        .map_err(|source| Error::File {
            verb: "write",
            path: path.to_owned(),
            source,
        })
}

fn not_locked((store, tries, seconds, source): GivenUp) -> Error {
    Error::Lock {
        store,
        tries,
        seconds,
        source,
    }
}

fn pack(venv: &Path, made_for: &str, into: &Path) -> io::Result<Packed> {
    let mut out = Hashed {
        file: BufWriter::with_capacity(PACK_BUFFER, File::create(into)?),
        hasher: Sha256::new(),
        size: 0,
    };
    archive::pack(venv, made_for, &mut out)?;
    let bytes: [u8; 32] = out.hasher.finalize().into();
    Ok(Packed {
        digest: Digest::from(bytes),
        size: out.size,
    })
}

/// A file whose digest is known when it is written.
struct Hashed {
    file: BufWriter<File>,
    hasher: Sha256,
    size: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The exact versions of all that is installed, a line for each.
async fn versions(site: &Site, host: &Host) -> Result<String, Error> {
    let lines = Arc::new(Mutex::new(String::new()));
    let on_line: OnLine = Arc::new({
        let lines = Arc::clone(&lines);
        move |line: &str| {
            let mut lines = lines.lock();
            lines.push_str(line);
            lines.push('\n');
        }
    });
    let ended = run(&commands::freeze(site), host, &on_line).await?;
    if !ended.exit.is_success() {
        return Err(Error::Environment(failure(&ended)));
    }
    Ok(lines.lock().clone())
}

fn failure(ended: &Ended) -> String {
    reason::of_kill("uv", ended).unwrap_or_else(|| reason::of_uv(&ended.tail))
}

async fn run(plan: &Plan, host: &Host, on_line: &OnLine) -> Result<Ended, Error> {
    Ok(Process::start(plan, host, on_line)?.finish().await)
}

async fn python_version(site: &Site, host: &Host) -> Result<String, Error> {
    let version = Arc::new(Mutex::new(String::new()));
    let on_line: OnLine = Arc::new({
        let version = Arc::clone(&version);
        move |line: &str| line.trim().clone_into(&mut version.lock())
    });
    let ended = run(&commands::python_version(site), host, &on_line).await?;
    let version = version.lock().clone();
    if ended.exit.is_success() {
        Ok(version)
    } else {
        let python = site.python.display();
        let exit = ended.exit;
        Err(Error::Environment(format!(
            "`{python} --version` {exit}: {version}"
        )))
    }
}

async fn read_requirements(app: &Path) -> Result<Option<Requirements>, Error> {
    let path = app.join(Requirements::FILE);
    match tokio::fs::read(&path).await {
        Ok(bytes) => Ok(Some(Requirements::from_bytes(&bytes))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File {
            verb: "read",
            path,
            source,
        }),
    }
}

async fn read_packages(app: &Path) -> Result<Option<Packages>, Error> {
    let path = app.join(Packages::FILE);
    match tokio::fs::read(&path).await {
        Ok(bytes) => {
            Packages::from_bytes(&bytes).map_err(|error| Error::Packages(error.to_string()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File {
            verb: "read",
            path,
            source,
        }),
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
