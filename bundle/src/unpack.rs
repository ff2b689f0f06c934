//! `unpack`: a bundle becomes a folder.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::archive::{Archive, Entry};
use crate::{Error, Limits};

const FILE_MODE: u32 = 0o644;
const PROGRAM_MODE: u32 = 0o755;

/// Unpacks an archive into the folder `into`, which is made if it is not there.
///
/// Only files and folders below `into` are made, never links; of a file's mode only its being
/// executable is kept. A file that is there already is replaced, so that a restarted pod can unpack
/// again; one that cannot be replaced because something is mounted on it (`[[File]]` of `app.toml`)
/// stays. Files that the archive does not have stay too.
///
/// # Errors
/// The archive's errors as [`read`](crate::read) has them, but for those of `app.toml`, which is
/// not read here; and [`Error::Write`]. After an error `into` is incomplete.
pub fn unpack(file: impl Read + Seek, into: &Path, limits: &Limits) -> Result<(), Error> {
    let mut archive = Archive::open(file, limits)?;
    fs::create_dir_all(into).map_err(|source| write_error(into, source))?;
    let mut folders = Folders {
        root: into,
        known: HashSet::new(),
    };
    for index in 0..archive.entries().len() {
        let entry = archive.entries()[index].clone();
        let path = into.join(&entry.name);
        if entry.is_folder {
            folders.make(&entry.name)?;
            continue;
        }
        if let Some((folder, _)) = entry.name.rsplit_once('/') {
            folders.make(folder)?;
        }
        if let Some(mut out) = create(&path, &entry)? {
            archive.copy(index, &mut out, |source| write_error(&path, source))?;
        } else {
            archive.copy(index, &mut io::sink(), |source| write_error(&path, source))?;
        }
    }
    Ok(())
}

/// Opens a new file at `path`; `None` when something is mounted there.
fn create(path: &Path, entry: &Entry) -> Result<Option<fs::File>, Error> {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => return Ok(None),
        Err(source) => return Err(write_error(path, source)),
    }
    let mode = if entry.is_executable {
        PROGRAM_MODE
    } else {
        FILE_MODE
    };
    // `create_new` never follows a link.
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(|source| write_error(path, source))?;
    Ok(Some(file))
}

/// The folders below `root` that are known to be real ones.
struct Folders<'a> {
    root: &'a Path,
    known: HashSet<PathBuf>,
}

impl Folders<'_> {
    /// Makes the folder `name` and those above it; refuses to pass through links.
    fn make(&mut self, name: &str) -> Result<(), Error> {
        let mut path = self.root.to_owned();
        for part in name.split('/') {
            path.push(part);
            if self.known.contains(&path) {
                continue;
            }
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => {
                    let source = io::Error::from(io::ErrorKind::NotADirectory);
                    return Err(write_error(&path, source));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir(&path).map_err(|source| write_error(&path, source))?;
                }
                Err(source) => return Err(write_error(&path, source)),
            }
            self.known.insert(path.clone());
        }
        Ok(())
    }
}

fn write_error(path: &Path, source: io::Error) -> Error {
    Error::Write {
        path: path.to_owned(),
        source,
    }
}
