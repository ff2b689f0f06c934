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
    let mut folder = Folder::new(into);
    for index in 0..archive.entries().len() {
        let Entry {
            name,
            is_folder,
            is_executable,
            ..
        } = archive.entries()[index].clone();
        if is_folder {
            folder.make(&name)?;
            continue;
        }
        let place = folder.place(&name, is_executable)?;
        let path = place.path();
        if let Some(mut out) = place.create()? {
            archive.copy(index, &mut out, |source| write_error(path, source))?;
        } else {
            archive.copy(index, &mut io::sink(), |source| write_error(path, source))?;
        }
    }
    Ok(())
}

/// A folder in which files are made, and never anywhere else: no path leads out of it through a link.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// Folders below it that are known to be real ones.
    known: HashSet<PathBuf>,
}

impl Folder {
    /// The folder `root`, which is there.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            known: HashSet::new(),
        }
    }

    /// Makes room for a file: the folders above it. `name` has plain parts only, with `/` between them.
    ///
    /// # Errors
    /// [`Error::Write`]; also when a folder on the way is a link.
    pub fn place(&mut self, name: &str, is_executable: bool) -> Result<Place, Error> {
        if let Some((folder, _)) = name.rsplit_once('/') {
            self.make(folder)?;
        }
        Ok(Place {
            path: self.root.join(name),
            is_executable,
        })
    }

    /// Makes the folder `name` and those above it; refuses to pass through links.
    fn make(&mut self, name: &str) -> Result<(), Error> {
        if self.known.contains(&self.root.join(name)) {
            return Ok(());
        }
        let mut path = self.root.clone();
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

/// Where a file is to be made, in a [`Folder`]. Any thread can make it.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    is_executable: bool,
}

impl Place {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a new file, in place of what has that name; `None` when something is mounted there.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn create(&self) -> Result<Option<fs::File>, Error> {
        let mode = if self.is_executable {
            PROGRAM_MODE
        } else {
            FILE_MODE
        };
        // `create_new` never follows a link.
        let open = || {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&self.path)
        };
        let mut opened = open();
        if let Err(error) = &opened
            && error.kind() == io::ErrorKind::AlreadyExists
        {
            match fs::remove_file(&self.path) {
                Ok(()) => opened = open(),
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => return Ok(None),
                Err(source) => return Err(write_error(&self.path, source)),
            }
        }
        opened
            .map(Some)
            .map_err(|source| write_error(&self.path, source))
    }
}

fn write_error(path: &Path, source: io::Error) -> Error {
    Error::Write {
        path: path.to_owned(),
        source,
    }
}
