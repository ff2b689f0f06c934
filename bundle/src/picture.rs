//! Icons and screenshots.

use std::io::{Read, Seek};

use strum::IntoStaticStr;

use crate::archive::Archive;
use crate::{Error, Limits};

/// A picture of the bundle, known by its first bytes to be what its format says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Path in the bundle, such as `static/icon.png`.
    pub path: String,
    /// The kind of picture, whatever the name says.
    pub format: PictureFormat,
}

impl Picture {
    /// Inflates the picture out of the archive that it was found in: pictures are many, and one is enough to have in memory.
    ///
    /// # Errors
    /// As [`read`](crate::read); and [`Error::EntryTooLarge`] when it is another archive, with a larger picture.
    pub fn bytes(&self, file: impl Read + Seek, limits: &Limits) -> Result<Vec<u8>, Error> {
        let limits = Limits {
            entry_bytes: Limits::PICTURE_BYTES.min(limits.entry_bytes),
            ..*limits
        };
        let mut archive = Archive::open(file, &limits)?;
        let found = archive
            .entries()
            .iter()
            .position(|entry| !entry.is_folder && entry.name == self.path);
        let mut bytes = Vec::new();
        let Some(index) = found else {
            return Err(Error::DamagedEntry {
                name: self.path.clone(),
                source: std::io::ErrorKind::NotFound.into(),
            });
        };
        archive.copy(index, &mut bytes, Error::Read)?;
        Ok(bytes)
    }
}

/// The kinds of pictures that a store shows. No SVG: it may carry scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
pub enum PictureFormat {
    /// PNG
    Png,
    /// JPEG
    Jpeg,
    /// GIF, of which the first frame is shown
    Gif,
    /// WebP
    WebP,
}

impl PictureFormat {
    /// How many of the first bytes of a file tell its format.
    pub(crate) const HEAD_BYTES: usize = 12;

    /// Tells the format by the first bytes of a file.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, rest @ ..] if rest.starts_with(b"WEBP") => {
                Some(Self::WebP)
            }
            _ => None,
        }
    }

    /// The media type to serve such a picture with.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::WebP => "image/webp",
        }
    }
}
