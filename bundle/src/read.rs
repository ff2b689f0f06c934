//! `read`: is this archive a bundle, and what is in it?

use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};

use crate::archive::{Archive, Entry};
use crate::manifest::hides;
use crate::problem::{Fault, Problem};
use crate::{
    APP_ROOT, EnvRules, Error, Limits, Manifest, Packages, Picture, PictureFormat, Requirements,
};

const MANIFEST: &str = "app.toml";

/// Icons are few; this only bounds what is kept while one is chosen.
const ICON_CANDIDATES: usize = 2;

/// A bundle that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Its `app.toml`.
    pub manifest: Manifest,
    /// What was ignored or left out, for the publisher to read.
    pub warnings: Vec<String>,
    /// The first `static/icon*` that is a PNG, JPEG, GIF or WebP.
    pub icon: Option<Picture>,
    /// All `static/screenshot*` that are such pictures, in the order of their names.
    pub screenshots: Vec<Picture>,
    /// Text of the Markdown file that `[App] LongDescription` names.
    pub long_description: Option<String>,
    /// What its `requirements.txt` asks for, if it has one.
    pub requirements: Option<Requirements>,
    /// The Debian packages that its `packages.txt` asks for, if it has one.
    pub packages: Option<Packages>,
    /// Paths of all files, in order.
    pub files: Vec<String>,
    /// Bytes that all files take unpacked.
    pub unpacked_bytes: u64,
}

impl Bundle {
    /// Whether the bundle brings a file of that path.
    #[must_use]
    pub fn has_file(&self, path: &str) -> bool {
        self.files
            .binary_search_by(|file| file.as_str().cmp(path))
            .is_ok()
    }
}

/// Reads a bundle: checks the archive, inflates every file once, and validates `app.toml`. Memory
/// stays bounded by the texts' limits, whatever the archive's size.
///
/// # Errors
/// Any [`Error`] but [`Error::Write`].
pub fn read(file: impl Read + Seek, limits: &Limits, rules: &EnvRules) -> Result<Bundle, Error> {
    let mut archive = Archive::open(file, limits)?;
    let text = read_manifest(&mut archive)?;
    let (manifest, mut warnings) = Manifest::parse(&text, rules)?;
    check_against_files(&manifest, archive.entries())?;

    let wanted = Wanted::choose(&manifest, archive.entries(), &mut warnings);
    let mut kept = BTreeMap::new();
    let mut heads = BTreeMap::new();
    let before = archive.inflated();
    for index in 0..archive.entries().len() {
        if archive.entries()[index].is_folder {
            continue;
        }
        if wanted.is_picture(index) {
            let mut head = Head::default();
            archive.copy(index, &mut head, Error::Read)?;
            heads.insert(index, head);
            continue;
        }
        let mut capture = Capture::new(wanted.limit(index));
        archive.copy(index, &mut capture, Error::Read)?;
        if wanted.limit(index).is_some() {
            kept.insert(index, capture.finish());
        }
    }
    let unpacked_bytes = archive.inflated() - before;
    let entries = archive.entries();

    let icon = picture_list(&wanted.icons, entries, &heads, &mut warnings)
        .into_iter()
        .next();
    let screenshots = picture_list(&wanted.screenshots, entries, &heads, &mut warnings);
    let long_description = wanted.long_description.and_then(|index| {
        long_description(&entries[index].name, kept.remove(&index)?, &mut warnings)
    });
    let requirements = wanted
        .requirements
        .and_then(|index| requirements(kept.remove(&index)?, &mut warnings));
    let packages = match wanted.packages {
        Some(index) => packages(kept.remove(&index).flatten())?,
        None => None,
    };
    let mut files: Vec<String> = entries
        .iter()
        .filter(|entry| !entry.is_folder)
        .map(|entry| entry.name.clone())
        .collect();
    files.sort_unstable();
    Ok(Bundle {
        manifest,
        warnings,
        icon,
        screenshots,
        long_description,
        requirements,
        packages,
        files,
        unpacked_bytes,
    })
}

fn read_manifest<R: Read + Seek>(archive: &mut Archive<R>) -> Result<String, Error> {
    let found = position(archive.entries(), MANIFEST);
    let Some(index) = found else {
        let is_near = |entry: &&Entry| {
            let last = entry.name.rsplit('/').next();
            !entry.is_folder && last.is_some_and(|last| last.eq_ignore_ascii_case(MANIFEST))
        };
        let near = archive
            .entries()
            .iter()
            .filter(is_near)
            .min_by_key(|entry| entry.name.len());
        let near = near.map(|entry| entry.name.clone());
        return Err(Error::NoManifest { near });
    };
    let mut capture = Capture::new(Some(Limits::MANIFEST_BYTES));
    archive.copy(index, &mut capture, Error::Read)?;
    let bytes = capture.finish().ok_or_else(|| Error::EntryTooLarge {
        name: MANIFEST.into(),
        limit: Limits::MANIFEST_BYTES,
    })?;
    String::from_utf8(bytes).map_err(|error| Error::NotText {
        position: error.utf8_error().valid_up_to(),
    })
}

/// Checks what `app.toml` puts into the pod against what the bundle puts there.
fn check_against_files(manifest: &Manifest, entries: &[Entry]) -> Result<(), Error> {
    let mut problems = Vec::new();
    let volume = manifest
        .runtime
        .as_ref()
        .and_then(|runtime| runtime.volume.as_ref());
    if let Some(volume) = volume
        && entries
            .iter()
            .any(|entry| hides(&volume.mount, &entry.name))
    {
        problems.push(Problem {
            key: "[Runtime] VolumeMount".into(),
            fault: Fault::HidesBundle {
                value: volume.mount.clone(),
            },
        });
    }
    if let Some(volume) = volume
        && let Some(fault) = closed_folder(&volume.mount, manifest, entries)
    {
        problems.push(Problem {
            key: "[Runtime] VolumeMount".into(),
            fault,
        });
    }
    for (index, file) in manifest.files.iter().enumerate() {
        let key = || format!("[[File]] #{} Path", index + 1);
        let Some(name) = file
            .path
            .strip_prefix(APP_ROOT)
            .and_then(|path| path.strip_prefix('/'))
        else {
            continue;
        };
        for entry in entries {
            let value = file.path.clone();
            let rest = name.strip_prefix(entry.name.as_str());
            if !entry.is_folder && rest.is_some_and(|rest| rest.starts_with('/')) {
                let other = entry.name.clone();
                problems.push(Problem {
                    key: key(),
                    fault: Fault::Nested { value, other },
                });
            } else if entry
                .name
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('/'))
            {
                problems.push(Problem {
                    key: key(),
                    fault: Fault::HidesBundle { value },
                });
                break;
            }
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(problems))
    }
}

/// What a volume two or more levels below the app's folder makes impossible: Kubernetes makes the folders around a mount as
/// root, so nothing else can be put into them.
fn closed_folder(mount: &str, manifest: &Manifest, entries: &[Entry]) -> Option<Fault> {
    let below_app = |path: &str| {
        path.strip_prefix(APP_ROOT)
            .and_then(|path| path.strip_prefix('/'))
            .map(str::to_owned)
    };
    let below = |path: &str, folder: &str| {
        path.strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    let volume = below_app(mount)?;
    let (folder, _) = volume.split_once('/')?;
    // What is in the volume is hidden, or linked there; folders that are there already need not be made.
    let outside = |path: &str| path != volume && !below(path, &volume);
    let clashes = |entry: &&Entry| {
        let name = entry.name.as_str();
        outside(name)
            && if entry.is_folder {
                below(name, folder) && !below(&volume, name)
            } else {
                name == folder || below(name, folder)
            }
    };
    let other = entries
        .iter()
        .find(clashes)
        .map(|entry| entry.name.clone())
        .or_else(|| {
            let files = manifest.files.iter();
            files
                .filter_map(|file| below_app(&file.path))
                .find(|path| outside(path) && below(path, folder))
        })?;
    Some(Fault::ClosesFolder {
        value: mount.to_owned(),
        folder: folder.to_owned(),
        other,
    })
}

/// Indexes of the files whose content the store shows, or acts by.
struct Wanted {
    icons: Vec<usize>,
    screenshots: Vec<usize>,
    long_description: Option<usize>,
    requirements: Option<usize>,
    packages: Option<usize>,
}

impl Wanted {
    fn choose(manifest: &Manifest, entries: &[Entry], warnings: &mut Vec<String>) -> Self {
        let mut icons = beginning_with("static/icon", entries);
        icons.truncate(ICON_CANDIDATES);
        let mut screenshots = beginning_with("static/screenshot", entries);
        if screenshots.len() > Limits::SCREENSHOTS {
            warnings.push(format!(
                "{} screenshots are left out: the store shows {}",
                screenshots.len() - Limits::SCREENSHOTS,
                Limits::SCREENSHOTS,
            ));
            screenshots.truncate(Limits::SCREENSHOTS);
        }
        let long_description = manifest.app.long_description.as_ref().and_then(|path| {
            let found = position(entries, path.strip_prefix("./").unwrap_or(path));
            if found.is_none() {
                warnings.push(format!(
                    "app.toml: `[App] LongDescription` is `{path}`, which is not in the archive"
                ));
            }
            found
        });
        Self {
            icons,
            screenshots,
            long_description,
            requirements: position(entries, Requirements::FILE),
            packages: position(entries, Packages::FILE),
        }
    }

    fn is_picture(&self, index: usize) -> bool {
        self.icons.contains(&index) || self.screenshots.contains(&index)
    }

    /// Most bytes to keep of the text at `index`; `None` for all other files.
    fn limit(&self, index: usize) -> Option<u64> {
        if self.long_description == Some(index) {
            Some(Limits::LONG_DESCRIPTION_BYTES)
        } else if self.requirements == Some(index) {
            Some(Limits::REQUIREMENTS_BYTES)
        } else if self.packages == Some(index) {
            Some(Limits::PACKAGES_BYTES)
        } else {
            None
        }
    }
}

fn position(entries: &[Entry], name: &str) -> Option<usize> {
    entries
        .iter()
        .position(|entry| !entry.is_folder && entry.name == name)
}

/// Files directly in the folder of `prefix` whose paths begin with it, in the order of their names.
fn beginning_with(prefix: &str, entries: &[Entry]) -> Vec<usize> {
    let matches = |entry: &Entry| {
        let rest = entry.name.strip_prefix(prefix);
        !entry.is_folder && rest.is_some_and(|rest| !rest.contains('/'))
    };
    let mut found: Vec<usize> = (0..entries.len())
        .filter(|index| matches(&entries[*index]))
        .collect();
    found.sort_by(|a, b| entries[*a].name.cmp(&entries[*b].name));
    found
}

/// The pictures among `indexes`; what is none is left out with a warning.
fn picture_list(
    indexes: &[usize],
    entries: &[Entry],
    heads: &BTreeMap<usize, Head>,
    warnings: &mut Vec<String>,
) -> Vec<Picture> {
    let mut pictures = Vec::new();
    for index in indexes {
        let path = &entries[*index].name;
        let Some(head) = heads.get(index) else {
            continue;
        };
        if head.length > Limits::PICTURE_BYTES {
            let limit = Limits::PICTURE_BYTES;
            warnings.push(format!(
                "`{path}` is left out: it is larger than {limit} bytes"
            ));
            continue;
        }
        let Some(format) = PictureFormat::of(&head.bytes) else {
            warnings.push(format!(
                "`{path}` is left out: it is neither PNG, JPEG, GIF nor WebP"
            ));
            continue;
        };
        let path = path.clone();
        pictures.push(Picture { path, format });
    }
    pictures
}

fn long_description(
    path: &str,
    bytes: Option<Vec<u8>>,
    warnings: &mut Vec<String>,
) -> Option<String> {
    let Some(bytes) = bytes else {
        let limit = Limits::LONG_DESCRIPTION_BYTES;
        warnings.push(format!(
            "`{path}` is left out: it is larger than {limit} bytes"
        ));
        return None;
    };
    let Ok(text) = String::from_utf8(bytes) else {
        warnings.push(format!("`{path}` is left out: it is not UTF-8"));
        return None;
    };
    Some(text.trim_start_matches('\u{feff}').to_owned())
}

fn requirements(bytes: Option<Vec<u8>>, warnings: &mut Vec<String>) -> Option<Requirements> {
    if bytes.is_none() {
        let limit = Limits::REQUIREMENTS_BYTES;
        warnings.push(format!(
            "no environment is built for `{}`: it is larger than {limit} bytes",
            Requirements::FILE
        ));
    }
    bytes.map(|bytes| Requirements::from_bytes(&bytes))
}

fn packages(bytes: Option<Vec<u8>>) -> Result<Option<Packages>, Error> {
    let bytes = bytes.ok_or_else(|| Error::EntryTooLarge {
        name: Packages::FILE.to_owned(),
        limit: Limits::PACKAGES_BYTES,
    })?;
    Packages::from_bytes(&bytes)
}

/// Keeps the first bytes of what is written, and counts the rest.
#[derive(Default)]
struct Head {
    bytes: Vec<u8>,
    length: u64,
}

impl Write for Head {
    fn write(&mut self, chunk: &[u8]) -> std::io::Result<usize> {
        let room = PictureFormat::HEAD_BYTES - self.bytes.len();
        self.bytes
            .extend_from_slice(&chunk[..room.min(chunk.len())]);
        self.length += chunk.len() as u64;
        Ok(chunk.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Keeps what is written up to a limit; beyond it, keeps nothing.
struct Capture {
    limit: u64,
    bytes: Option<Vec<u8>>,
}

impl Capture {
    /// `None` keeps nothing at all.
    fn new(limit: Option<u64>) -> Self {
        Self {
            limit: limit.unwrap_or(0),
            bytes: limit.map(|_| Vec::new()),
        }
    }

    /// What was written, unless it was too much.
    fn finish(self) -> Option<Vec<u8>> {
        self.bytes
    }
}

impl Write for Capture {
    fn write(&mut self, chunk: &[u8]) -> std::io::Result<usize> {
        if let Some(bytes) = &mut self.bytes {
            if (bytes.len() + chunk.len()) as u64 > self.limit {
                self.bytes = None;
            } else {
                bytes.extend_from_slice(chunk);
            }
        }
        Ok(chunk.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
