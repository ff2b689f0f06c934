//! A zip archive that every program reads the same way, and that stays within [`Limits`].
//!
//! All access to archives goes through here, and here through one reader (the `zip` crate), so that
//! what was checked is what is unpacked.

mod end;
mod name;

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};

use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use crate::{Error, Limits, NameFault};

const CHUNK: usize = 64 << 10;

/// Bits of a Unix mode.
const TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const EXECUTE: u32 = 0o111;

/// An archive whose entries all have good and distinct names.
pub(crate) struct Archive<R> {
    zip: ZipArchive<BufReader<R>>,
    entries: Vec<Entry>,
    limits: Limits,
    size: u64,
    /// Bytes inflated so far.
    inflated: u64,
}

/// A file or folder in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Path relative to the root, parts separated by `/`, without one at the end.
    pub(crate) name: String,
    pub(crate) is_folder: bool,
    pub(crate) is_executable: bool,
    /// Bytes it says to inflate to.
    size: u64,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the archive's directory and checks everything that can be checked without inflating.
    pub(crate) fn open(mut file: R, limits: &Limits) -> Result<Self, Error> {
        let size = file.seek(SeekFrom::End(0)).map_err(Error::Read)?;
        if size > limits.archive_bytes {
            let limit = limits.archive_bytes;
            return Err(Error::ArchiveTooLarge { limit });
        }
        // The zip crate reserves memory for as many entries as the archive claims to have.
        let entries = end::count_entries(&mut file, size)?;
        if entries > limits.entries {
            let limit = limits.entries;
            return Err(Error::TooManyEntries { entries, limit });
        }
        let config = zip::read::Config {
            archive_offset: zip::read::ArchiveOffset::Known(0),
        };
        let mut zip =
            ZipArchive::with_config(config, BufReader::new(file)).map_err(not_readable)?;
        if zip.has_duplicate_names() {
            return Err(not_an_archive("two entries have the same name"));
        }
        if u64::try_from(zip.len()).ok() != Some(entries) {
            return Err(not_an_archive("its two counts of entries differ"));
        }
        let entries = check_entries(&zip)?;
        // Local headers that say something else than the directory are how one archive shows two contents.
        zip.validate_header_consistency().map_err(not_readable)?;
        Ok(Self {
            zip,
            entries,
            limits: *limits,
            size,
            inflated: 0,
        })
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Bytes that [`Archive::copy`] has inflated so far.
    pub(crate) fn inflated(&self) -> u64 {
        self.inflated
    }

    /// Inflates the file at `index` into `out`, and checks its length and checksum. `write_error`
    /// says what a failure of `out` means.
    pub(crate) fn copy(
        &mut self,
        index: usize,
        out: &mut impl Write,
        write_error: impl Fn(io::Error) -> Error,
    ) -> Result<(), Error> {
        let entry = &self.entries[index];
        let limits = self.limits;
        let damaged = |source: io::Error| {
            // An error of the system means that the archive could not be read, whatever is in it.
            if source.raw_os_error().is_some() {
                Error::Read(source)
            } else {
                let name = entry.name.clone();
                Error::DamagedEntry { name, source }
            }
        };
        let mut file = self
            .zip
            .by_index(index)
            .map_err(|error| damaged(error.into()))?;
        let mut buffer = vec![0; CHUNK];
        let mut length: u64 = 0;
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(damaged(error)),
            };
            length += count as u64;
            self.inflated += count as u64;
            if length > limits.entry_bytes {
                return Err(Error::EntryTooLarge {
                    name: entry.name.clone(),
                    limit: limits.entry_bytes,
                });
            }
            if self.inflated > limits.total_bytes {
                let limit = limits.total_bytes;
                return Err(Error::TotalTooLarge { limit });
            }
            let most = self
                .size
                .saturating_mul(limits.ratio)
                .max(Limits::RATIO_FREE_BYTES);
            if self.inflated > most {
                let limit = limits.ratio;
                return Err(Error::RatioTooLarge { limit });
            }
            out.write_all(&buffer[..count]).map_err(&write_error)?;
        }
        if length != entry.size {
            let text = format!("it has {length} bytes, but says {}", entry.size);
            return Err(damaged(io::Error::new(io::ErrorKind::InvalidData, text)));
        }
        Ok(())
    }
}

/// Checks every entry by itself, then against the others.
fn check_entries<R: Read + Seek>(zip: &ZipArchive<R>) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::with_capacity(zip.len());
    let mut folders: BTreeMap<String, bool> = BTreeMap::new();
    let mut first_byte = u64::MAX;
    for index in 0..zip.len() {
        let data = zip.by_index_data(index).map_err(not_readable)?;
        first_byte = first_byte.min(data.header_start());
        let raw = data.name_raw();
        let bad = |fault| Error::BadName {
            name: String::from_utf8_lossy(raw).into_owned(),
            fault,
        };
        // Names that are not plain UTF-8, or that an extra field replaces, differ from program to program.
        let name = match data.name() {
            Ok(name) if name.as_bytes() == raw => name.into_owned(),
            Ok(_) | Err(_) => return Err(bad(NameFault::Ambiguous)),
        };
        let (name, is_folder) = name::check(&name).map_err(bad)?;
        let mode = data.external_attributes() >> 16;
        let kind = match (mode & TYPE, is_folder) {
            (0, _) | (REGULAR, false) | (FOLDER, true) => None,
            (REGULAR, true) | (FOLDER, false) => return Err(bad(NameFault::FileAndFolder)),
            (0o120_000, _) => Some("a symbolic link"),
            (0o020_000 | 0o060_000, _) => Some("a device"),
            (0o010_000, _) => Some("a named pipe"),
            (0o140_000, _) => Some("a socket"),
            _ => Some("of an unknown kind"),
        };
        if let Some(kind) = kind {
            let name = name.to_owned();
            return Err(Error::NotAFile { name, kind });
        }
        if is_folder && (data.size() > 0 || data.compressed_size() > 0) {
            return Err(bad(NameFault::FolderWithContent));
        }
        if data.encrypted() {
            let name = name.to_owned();
            return Err(Error::Encrypted { name });
        }
        match data.compression() {
            CompressionMethod::Stored | CompressionMethod::Deflated => {}
            other => {
                return Err(Error::Compression {
                    name: name.to_owned(),
                    method: other.to_string(),
                });
            }
        }
        match folders.insert(name.to_owned(), is_folder) {
            None => {}
            Some(before) if before == is_folder => return Err(bad(NameFault::Duplicate)),
            Some(_) => return Err(bad(NameFault::FileAndFolder)),
        }
        entries.push(Entry {
            name: name.to_owned(),
            is_folder,
            is_executable: mode & EXECUTE != 0,
            size: data.size(),
        });
    }
    // Names that differ in case alone stay distinct: bundles run on Linux, where they are two files,
    // and refusing them would refuse archives that other platforms ran.
    for entry in &entries {
        for (slash, _) in entry.name.match_indices('/') {
            if folders.get(&entry.name[..slash]) == Some(&false) {
                return Err(Error::BadName {
                    name: entry.name[..slash].to_owned(),
                    fault: NameFault::FileAndFolder,
                });
            }
        }
    }
    if !entries.is_empty() && first_byte != 0 {
        return Err(not_an_archive(
            "there is something else before its first entry",
        ));
    }
    Ok(entries)
}

fn not_an_archive(reason: impl Into<String>) -> Error {
    Error::NotAnArchive {
        reason: reason.into(),
    }
}

fn not_readable(error: ZipError) -> Error {
    match error {
        ZipError::Io(error) if error.raw_os_error().is_some() => Error::Read(error),
        ZipError::InvalidArchive(reason) => not_an_archive(reason),
        other => not_an_archive(other.to_string()),
    }
}
