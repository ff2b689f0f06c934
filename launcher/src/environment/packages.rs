//! The Debian packages of an app (packages.txt): fetched by apt, which checks Debian's signatures, and unpacked into the environment, without
//! root and without what packages do when they are installed. What cannot work so is refused by name.

mod places;
mod union;
mod verdict;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bundle::Packages;
use tracing::{info, warn};

use super::{quiet, run};
use crate::commands::{self, Apt};
use crate::error::Error;
use crate::phase::Board;
use crate::process::{Ended, Host, Plan};
use crate::reason;
use crate::settings::Site;
pub(crate) use places::Places;
use union::Union;
use verdict::Fetched;

/// By a file in these folders the system starts a service.
const SERVICES: [&str; 4] = [
    "etc/init.d/",
    "lib/systemd/system/",
    "usr/lib/systemd/system/",
    "etc/cron",
];

/// Set on files that run with the rights of their owner or group.
const PRIVILEGED: u32 = 0o6000;

/// Most bytes of what apt says in the end.
const WORDS: usize = 1_000;

/// Unpacks packages, and what they need and the image lacks, into the environment.
pub(super) async fn install(
    site: &Site,
    host: &Host,
    board: &Board,
    packages: &Packages,
) -> Result<(), Error> {
    let apt = prepare(site).await?;
    board.tell("Fetching the app's system packages");
    succeed(&apt.update(site), host).await?;
    succeed(&apt.fetch(site, packages), host).await?;
    let in_image = packages_of_image().await?;
    let archives = blocking(&apt.folder, |folder| archives(&folder.join("archives"))).await?;
    let mut fetched = Vec::new();
    let mut roots = Vec::new();
    for archive in &archives {
        let root = apt.folder.join("unpacked").join(name_of(archive));
        succeed(&commands::unpack_package(site, archive, &root), host).await?;
        let name = name_of(archive);
        let is_in_image = in_image.contains(&name);
        fetched.push(blocking(&root, move |root| look(root, name, is_in_image)).await?);
        roots.push(root);
    }
    let refused = verdict::refusals(packages, &fetched);
    if !refused.is_empty() {
        let words: Vec<String> = refused.iter().map(ToString::to_string).collect();
        return Err(Error::Packages(words.join("; ")));
    }
    let into = places::folder(&site.folders.venv);
    blocking(&into, move |into| {
        let mut union = Union::default();
        for root in &roots {
            union.add(root)?;
        }
        union.put(into)
    })
    .await?;
    blocking(&apt.folder, |folder| fs::remove_dir_all(folder)).await?;
    tell(&fetched);
    Ok(())
}

fn tell(fetched: &[Fetched]) {
    let names: Vec<&str> = fetched.iter().map(|package| &*package.name).collect();
    info!("packages.txt: unpacked {}", names.join(", "));
    let scripts: Vec<&str> = fetched
        .iter()
        .filter(|package| package.has_script)
        .map(|package| &*package.name)
        .collect();
    if !scripts.is_empty() {
        warn!(
            "packages.txt: what is done as root when packages are installed was left out for {}",
            scripts.join(", ")
        );
    }
}

/// Makes the folders that apt works in, empty, and tells it where packages are.
async fn prepare(site: &Site) -> Result<Apt, Error> {
    let mirrors = Mirrors::of(site)?;
    let folder = site.folders.packages.clone();
    blocking(&folder, |folder| {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        for name in ["lists/partial", "archives/partial", "unpacked"] {
            fs::create_dir_all(folder.join(name))?;
        }
        Ok(())
    })
    .await?;
    let sources = match mirrors {
        None => None,
        Some(mirrors) => {
            let file = folder.join("sources.list");
            let lines = mirrors.sources(&suite().await?);
            super::write(&file, lines).await?;
            Some(file)
        }
    };
    Ok(Apt { folder, sources })
}

/// Where packages come from in place of the image's own sources.
#[derive(Debug, PartialEq, Eq)]
struct Mirrors {
    debian: String,
    security: Option<String>,
}

impl Mirrors {
    fn of(site: &Site) -> Result<Option<Self>, Error> {
        let given = |name: &str| -> Result<Option<String>, Error> {
            let value = site.variables.get(OsStr::new(name));
            let Some(value) = value.filter(|value| !value.is_empty()) else {
                return Ok(None);
            };
            let value = value.to_string_lossy();
            if is_mirror(&value) {
                Ok(Some(value.trim_end_matches('/').to_owned()))
            } else {
                Err(Error::Packages(format!(
                    "`{name}` is no address of a mirror, such as `https://mirror.example.com/debian`"
                )))
            }
        };
        let (debian, security) = (given("DEBIAN_MIRROR")?, given("DEBIAN_SECURITY_MIRROR")?);
        Ok(debian.map(|debian| Self { debian, security }))
    }

    /// As in apt's sources.list.
    fn sources(&self, suite: &str) -> String {
        let line = |mirror: &str, suite: &str| {
            format!(
                "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} {suite} main\n"
            )
        };
        let mut lines =
            line(&self.debian, suite) + &line(&self.debian, &format!("{suite}-updates"));
        if let Some(security) = &self.security {
            lines += &line(security, &format!("{suite}-security"));
        }
        lines
    }
}

/// Whether apt could take it for nothing but an address, and nothing in it is secret.
fn is_mirror(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/%+".contains(&byte))
    })
}

/// The release of Debian in the image, such as `bookworm`.
async fn suite() -> Result<String, Error> {
    const FILE: &str = "/etc/os-release";
    let text = tokio::fs::read_to_string(FILE).await.unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.map(str::to_owned).ok_or_else(|| {
        Error::Packages(format!(
            "`{FILE}` of the image does not say which release of Debian it is"
        ))
    })
}

/// The names of what is installed in the image.
async fn packages_of_image() -> Result<HashSet<String>, Error> {
    let path = PathBuf::from("/var/lib/dpkg/status");
    match tokio::fs::read_to_string(&path).await {
        Ok(text) => {
            let names = text
                .lines()
                .filter_map(|line| line.strip_prefix("Package: "));
            Ok(names.map(str::to_owned).collect())
        }
        Err(source) => Err(Error::File {
            verb: "read",
            path,
            source,
        }),
    }
}

fn archives(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "deb") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The package in a file that apt has named: `NAME_VERSION_ARCHITECTURE.deb`.
fn name_of(archive: &Path) -> String {
    let file = archive.file_name().unwrap_or_default().to_string_lossy();
    file.split('_').next().unwrap_or_default().to_owned()
}

/// What there is to be known of a package that was unpacked, with what is to be done when it is installed in `DEBIAN`.
fn look(root: &Path, name: String, is_in_image: bool) -> io::Result<Fetched> {
    let control = root.join("DEBIAN");
    let mut package = Fetched {
        name,
        is_in_image,
        has_script: control.join("postinst").exists(),
        ..Fetched::default()
    };
    fs::remove_dir_all(&control)?;
    walk(root, root, &mut package)?;
    Ok(package)
}

fn walk(root: &Path, folder: &Path, package: &mut Fetched) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.path().symlink_metadata()?;
        if about.is_dir() {
            walk(root, &entry.path(), package)?;
            continue;
        }
        let path = entry.path();
        let name = path.strip_prefix(root).map_err(io::Error::other)?;
        let name = name.to_string_lossy();
        if SERVICES.iter().any(|folder| name.starts_with(folder)) {
            package.service.get_or_insert_with(|| name.to_string());
        }
        if about.is_file() && about.permissions().mode() & PRIVILEGED != 0 {
            package.privileged.get_or_insert_with(|| name.to_string());
        }
    }
    Ok(())
}

async fn succeed(plan: &Plan, host: &Host) -> Result<(), Error> {
    let ended = run(plan, host, &quiet()).await?;
    if ended.exit.is_success() {
        Ok(())
    } else {
        Err(Error::Packages(words(plan, &ended)))
    }
}

/// The deciding words of a command that has failed: apt's errors begin with `E:`.
fn words(plan: &Plan, ended: &Ended) -> String {
    if let Some(words) = reason::of_kill("apt", ended) {
        return words;
    }
    let errors: Vec<&str> = ended
        .tail
        .iter()
        .filter_map(|line| line.strip_prefix("E: "))
        .collect();
    let words = if errors.is_empty() {
        ended.tail.last().cloned().unwrap_or_default()
    } else {
        errors.join("; ")
    };
    let program = plan.program.display();
    let exit = ended.exit;
    let words = crate::tail::cut(&words, WORDS);
    format!("`{program}` {exit}: {words}")
}

async fn blocking<T: Send + 'static>(
    path: &Path,
    act: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let path = path.to_owned();
    let done = tokio::task::spawn_blocking(move || {
        let result = act(&path);
        result.map_err(|source| Error::File {
            verb: "fill",
            path,
            source,
        })
    });
    done.await.expect("it does not panic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_addresses_and_nothing_else() {
        for text in [
            "https://mirror.example.com/debian/",
            "http://10.0.0.1:8080/deb-proxy/debian",
        ] {
            assert!(is_mirror(text), "{text}");
        }
        for text in [
            "",
            "https://",
            "mirror.example.com",
            "file:///etc",
            "copy:/etc",
            "https://me:secret@mirror.example.com/debian",
            "https://mirror.example.com/debian sid main\ndeb",
            "https://mirror.example.com/[trusted=yes]",
        ] {
            assert!(!is_mirror(text), "{text}");
        }
    }

    #[test]
    fn a_mirror_takes_the_place_of_the_image_s_sources() {
        let mirrors = Mirrors {
            debian: "https://mirror.example.com/debian".to_owned(),
            security: Some("https://mirror.example.com/debian-security".to_owned()),
        };
        insta::assert_snapshot!(mirrors.sources("bookworm"), @r"
        deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] https://mirror.example.com/debian bookworm main
        deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] https://mirror.example.com/debian bookworm-updates main
        deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] https://mirror.example.com/debian-security bookworm-security main
        ");
    }

    #[test]
    fn a_package_is_known_by_what_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        for (name, mode) in [
            ("DEBIAN/postinst", 0o755),
            ("usr/bin/plain", 0o755),
            ("usr/bin/sudo", 0o4755),
            ("lib/systemd/system/x.service", 0o644),
        ] {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let archive = Path::new("/tmp/x_1%3a2.0-1_amd64.deb");
        let found = look(root.path(), name_of(archive), false).unwrap();
        let expected = Fetched {
            name: "x".to_owned(),
            is_in_image: false,
            privileged: Some("usr/bin/sudo".to_owned()),
            service: Some("lib/systemd/system/x.service".to_owned()),
            has_script: true,
        };
        assert_eq!(found, expected);
        assert!(!root.path().join("DEBIAN").exists());
    }
}
