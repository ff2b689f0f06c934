//! Icons and screenshots.

use strum::IntoStaticStr;

/// A picture of the bundle, known by its first bytes to be what its format says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// File name without folder, such as `icon.png`.
    pub name: String,
    /// The kind of picture, whatever the name says.
    pub format: PictureFormat,
    /// The file as it is.
    pub bytes: Vec<u8>,
}

/// The kinds of pictures that a store shows. No SVG: it may carry scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
pub enum PictureFormat {
    /// PNG
    Png,
    /// JPEG
    Jpeg,
}

impl PictureFormat {
    /// Tells the format by the first bytes of a file.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if bytes.starts_with(b"\xff\xd8\xff") {
            Some(Self::Jpeg)
        } else {
            None
        }
    }

    /// The media type to serve such a picture with.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
        }
    }
}
