//! An environment as one file: tar in zstd, the same bytes for the same environment.
//!
//! It has regular files alone. The interpreter and the links to it are not in it: uv makes those in the pod, so that nothing
//! in an archive needs to point anywhere.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::thread;

use bundle::{Folder, Place};
use tar::{Builder, EntryType, Header};

use super::writers::{self, Gone, PIECE_BYTES, Writers};

/// The first entry: what the environment was made for.
const MADE_FOR: &str = ".wavestore-made-for";

/// What uv makes in the pod, where the interpreter may be another one.
const OWN: &str = "pyvenv.cfg";

/// Of compression: the usual one, which takes a few seconds for a large environment.
const LEVEL: i32 = 3;

/// The largest window, as a power of two, that unpacking may need in memory: 8 MiB. Level 3 needs 2.
const WINDOW_LOG: u32 = 23;

/// Most bytes of a path.
const PATH_BYTES: u64 = 1024;

/// How large an environment may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Most files.
    pub(crate) entries: u64,
    /// Most bytes of all files together.
    pub(crate) bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 500_000,
            bytes: 12 << 30,
        }
    }
}

/// Why an archive is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It broke off, or is none.
    #[error("could not read the archive")]
    Read(#[source] io::Error),
    /// It does not say what it was made for, or something else.
    #[error("it was made for `{made_for}`, and this is `{here}`")]
    MadeFor { made_for: String, here: String },
    /// Something else than a file.
    #[error("`{path}` is no regular file")]
    Kind { path: String },
    /// A path that leads anywhere else.
    #[error("`{path}` is no plain path in the environment")]
    Path { path: String },
    /// Too many files.
    #[error("it has more than {limit} files")]
    TooMany { limit: u64 },
    /// Too many bytes.
    #[error("it unpacks to more than {limit} bytes")]
    TooLarge { limit: u64 },
    /// A folder could not be made.
    #[error(transparent)]
    Folder(#[from] bundle::Error),
    /// A file could not be made.
    #[error(transparent)]
    Write(#[from] writers::Error),
}

/// Packs the environment in `venv`, which was made for `made_for`.
pub(crate) fn pack(venv: &Path, made_for: &str, out: impl Write) -> io::Result<()> {
    let mut archive = Builder::new(zstd::Encoder::new(out, LEVEL)?);
    let text = made_for.as_bytes();
    archive.append_data(&mut header(text.len() as u64, false), MADE_FOR, text)?;
    let mut files = Vec::new();
    list(venv, &mut files)?;
    files.sort_unstable();
    for path in files {
        let name = path.strip_prefix(venv).map_err(io::Error::other)?;
        if name == Path::new(OWN) || name == Path::new(MADE_FOR) {
            continue;
        }
        let file = File::open(&path)?;
        let about = file.metadata()?;
        let is_executable = about.permissions().mode() & 0o111 != 0;
        archive.append_data(&mut header(about.len(), is_executable), name, file)?;
    }
    archive.into_inner()?.finish()?.flush()
}

/// Of a file: everything that may differ from one build to the next is left out.
fn header(size: u64, is_executable: bool) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(if is_executable { 0o755 } else { 0o644 });
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// All regular files below `folder`; links are not followed.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Unpacks an environment over the empty one in `venv`, if it was made for `made_for`.
pub(crate) fn unpack(
    packed: impl Read,
    venv: &Path,
    made_for: &str,
    limits: Limits,
) -> Result<(), Error> {
    thread::scope(|scope| {
        let mut writers = Writers::start(scope);
        let read = read(packed, Folder::new(venv), made_for, limits, &mut writers);
        // If one of them is gone, what was read says nothing.
        writers.finish()?;
        read
    })
}

/// Passes on to `writers` what is in the archive, until one of them is gone.
fn read(
    packed: impl Read,
    mut folder: Folder,
    made_for: &str,
    limits: Limits,
    writers: &mut Writers,
) -> Result<(), Error> {
    let mut packed = zstd::Decoder::new(packed).map_err(Error::Read)?;
    packed.window_log_max(WINDOW_LOG).map_err(Error::Read)?;
    let mut archive = tar::Archive::new(packed);
    // As it is: else the names of entries are read into memory, whatever their size.
    let entries = archive.entries().map_err(Error::Read)?.raw(true);
    let (mut count, mut bytes) = (0, 0_u64);
    let mut long_name = None;
    for entry in entries {
        let mut entry = entry.map_err(Error::Read)?;
        let size = entry.size();
        let kind = entry.header().entry_type();
        if kind == EntryType::GNULongName {
            let name = read_text(&mut entry, size)?;
            long_name = Some(name.trim_end_matches('\0').to_owned());
            continue;
        }
        let path = long_name
            .take()
            .unwrap_or_else(|| String::from_utf8_lossy(&entry.path_bytes()).into_owned());
        if kind != EntryType::Regular {
            return Err(Error::Kind { path });
        }
        if count == 0 {
            let seen = if path == MADE_FOR {
                read_text(&mut entry, size)?
            } else {
                String::new()
            };
            if seen != made_for {
                return Err(Error::MadeFor {
                    made_for: seen,
                    here: made_for.to_owned(),
                });
            }
            count = 1;
            continue;
        }
        if !is_plain(&path) {
            return Err(Error::Path { path });
        }
        count += 1;
        bytes = bytes.saturating_add(size);
        if count > limits.entries {
            let limit = limits.entries;
            return Err(Error::TooMany { limit });
        }
        if bytes > limits.bytes {
            let limit = limits.bytes;
            return Err(Error::TooLarge { limit });
        }
        let is_executable = entry.header().mode().unwrap_or_default() & 0o111 != 0;
        if pass_on(&mut entry, folder.place(&path, is_executable)?, writers)?.is_err() {
            return Ok(());
        }
    }
    if count == 0 {
        return Err(Error::Read(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(())
}

fn pass_on(
    content: &mut impl Read,
    place: Place,
    writers: &mut Writers,
) -> Result<Result<(), Gone>, Error> {
    let mut passed_on = writers.begin(place);
    while passed_on.is_ok() {
        let mut piece = Vec::new();
        let size = content.take(PIECE_BYTES).read_to_end(&mut piece);
        if size.map_err(Error::Read)? == 0 {
            break;
        }
        passed_on = writers.piece(piece);
    }
    Ok(passed_on)
}

fn read_text(entry: &mut impl Read, size: u64) -> Result<String, Error> {
    let mut text = String::new();
    if size > PATH_BYTES {
        return Err(Error::Path { path: text });
    }
    entry.read_to_string(&mut text).map_err(Error::Read)?;
    Ok(text)
}

/// Whether a path has names only, with one slash between them.
fn is_plain(path: &str) -> bool {
    let mut plain = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::Prefix(_)
            | Component::RootDir
            | Component::CurDir
            | Component::ParentDir => return false,
        }
    }
    path.len() as u64 <= PATH_BYTES
        && !path.contains('\0')
        && plain.as_os_str() == path
        && !path.is_empty()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const HERE: &str = "Python 3.11.2 linux x86_64";

    fn venv() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("lib/{}/{}", "long".repeat(20), "name".repeat(20));
        for (name, mode) in [
            ("waved", 0o755),
            ("lib/python3.11/site-packages/x.py", 0o600),
            ("pyvenv.cfg", 0o644),
            (long.as_str(), 0o644),
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir(folder.path().join("bin")).unwrap();
        symlink("/usr/bin/python3", folder.path().join("bin/python")).unwrap();
        symlink("lib", folder.path().join("lib64")).unwrap();
        folder
    }

    fn packed(venv: &Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        pack(venv, HERE, &mut bytes).unwrap();
        bytes
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut files = Vec::new();
        list(folder, &mut files).unwrap();
        files.sort_unstable();
        let name = |file: &PathBuf| file.strip_prefix(folder).unwrap().display().to_string();
        files.iter().map(name).collect()
    }

    #[test]
    fn an_environment_comes_back_without_links_and_without_what_the_pod_makes_itself() {
        let (from, to) = (venv(), tempfile::tempdir().unwrap());
        unpack(&*packed(from.path()), to.path(), HERE, Limits::default()).unwrap();
        let mut expected = names(from.path());
        expected.retain(|name| name != OWN);
        assert_eq!(names(to.path()), expected);
        for name in &expected {
            assert_eq!(fs::read_to_string(to.path().join(name)).unwrap(), *name);
        }
        let mode = |name: &str| {
            fs::metadata(to.path().join(name))
                .unwrap()
                .permissions()
                .mode()
                & 0o111
        };
        assert_ne!(mode("waved"), 0);
        assert_eq!(mode("lib/python3.11/site-packages/x.py"), 0);
    }

    #[test]
    fn the_same_environment_is_the_same_bytes_whenever_and_in_whatever_order_it_was_made() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let files = ["b", "a/c", "a.b", "a/b"];
        for name in files {
            fs::create_dir_all(one.path().join("a")).unwrap();
            fs::write(one.path().join(name), name).unwrap();
        }
        for name in files.iter().rev() {
            fs::create_dir_all(two.path().join("a")).unwrap();
            fs::write(two.path().join(name), name).unwrap();
            let file = File::options()
                .write(true)
                .open(two.path().join(name))
                .unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH)
                .unwrap();
        }
        assert!(packed(one.path()) == packed(two.path()));
    }

    /// An archive with the right first entry, and one more.
    fn hostile(kind: EntryType, name: &str, size: u64, content: &[u8]) -> Vec<u8> {
        let mut archive = Builder::new(zstd::Encoder::new(Vec::new(), LEVEL).unwrap());
        let mut first = header(HERE.len() as u64, false);
        archive
            .append_data(&mut first, MADE_FOR, HERE.as_bytes())
            .unwrap();
        let mut header = header(size, false);
        header.set_entry_type(kind);
        // As nobody would write it who uses the library as it is meant.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_link_name("/etc/passwd").unwrap();
        header.set_cksum();
        archive.append(&header, content).unwrap();
        archive.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn hostile_archives_are_refused() {
        use EntryType as E;
        let kind = |path: &str| format!("`{path}` is no regular file");
        let path = |path: &str| format!("`{path}` is no plain path in the environment");
        let cases = [
            ("a link", hostile(E::Symlink, "x", 0, b""), kind("x")),
            ("a hard link", hostile(E::Link, "x", 0, b""), kind("x")),
            ("a device", hostile(E::Char, "x", 0, b""), kind("x")),
            ("a disk", hostile(E::Block, "x", 0, b""), kind("x")),
            ("a pipe", hostile(E::Fifo, "x", 0, b""), kind("x")),
            ("a folder", hostile(E::Directory, "x", 0, b""), kind("x")),
            (
                "a sparse file",
                hostile(E::GNUSparse, "x", 0, b""),
                kind("x"),
            ),
            ("more headers", hostile(E::XHeader, "x", 0, b""), kind("x")),
            (
                "upwards",
                hostile(E::Regular, "../x", 1, b"x"),
                path("../x"),
            ),
            (
                "upwards inside",
                hostile(E::Regular, "a/../../x", 1, b"x"),
                path("a/../../x"),
            ),
            (
                "absolute",
                hostile(E::Regular, "/etc/x", 1, b"x"),
                path("/etc/x"),
            ),
            ("here", hostile(E::Regular, "./x", 1, b"x"), path("./x")),
            (
                "two slashes",
                hostile(E::Regular, "a//x", 1, b"x"),
                path("a//x"),
            ),
            (
                "a slash at the end",
                hostile(E::Regular, "a/", 1, b"x"),
                path("a/"),
            ),
            ("no name", hostile(E::Regular, "", 1, b"x"), path("")),
            (
                "an endless name",
                hostile(E::GNULongName, "x", 1 << 20, &vec![b'x'; 1 << 20]),
                path(""),
            ),
            (
                "through a link",
                hostile(E::Regular, "lib64/x", 1, b"x"),
                "could not write".to_owned(),
            ),
            (
                "huge",
                hostile(E::Regular, "x", 101, &[0; 101]),
                "it unpacks to more than 100 bytes".to_owned(),
            ),
            (
                "no archive",
                b"PK".to_vec(),
                "could not read the archive".to_owned(),
            ),
            (
                "cut short",
                hostile(E::Regular, "x", 50, &[7; 50])[..40].to_vec(),
                "could not read the archive".to_owned(),
            ),
        ];
        for (name, bytes, expected) in cases {
            let (outside, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            symlink(outside.path(), to.path().join("lib64")).unwrap();
            let limits = Limits {
                entries: 10,
                bytes: 100,
            };
            let error = unpack(&*bytes, to.path(), HERE, limits).unwrap_err();
            assert!(error.to_string().starts_with(&expected), "{name}: {error}");
            assert_eq!(names(outside.path()), [""; 0], "{name}");
        }
    }

    #[test]
    fn too_many_files_are_refused() {
        let (from, to) = (venv(), tempfile::tempdir().unwrap());
        let limits = Limits {
            entries: 2,
            bytes: 1000,
        };
        let error = unpack(&*packed(from.path()), to.path(), HERE, limits).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 2 files");
    }

    #[test]
    fn an_environment_for_another_python_is_refused_before_anything_is_written() {
        let (from, to) = (venv(), tempfile::tempdir().unwrap());
        let there = "Python 3.12.1 linux x86_64";
        let error = unpack(&*packed(from.path()), to.path(), there, Limits::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("it was made for `{HERE}`, and this is `{there}`")
        );
        assert_eq!(names(to.path()), [""; 0]);
    }

    #[test]
    fn a_frame_that_wants_much_memory_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(&[0; 1024]).unwrap();
        let bytes = encoder.finish().unwrap();
        let to = tempfile::tempdir().unwrap();
        let error = unpack(&*bytes, to.path(), HERE, Limits::default()).unwrap_err();
        assert_eq!(error.to_string(), "could not read the archive");
    }
}
