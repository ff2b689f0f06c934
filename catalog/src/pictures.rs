//! `Picture`: an icon or a screenshot of an app, by the names of what is stored of it.

use serde::{Deserialize, Serialize};

/// A picture among the assets of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Name of its file among the assets: the largest rendition, or the file of the bundle where none was made.
    pub name: String,
    /// All its renditions, the narrowest first. None of a picture that is kept as it came.
    pub renditions: Vec<Rendition>,
}

/// A picture in one of its sizes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendition {
    /// Name of its file among the assets.
    pub name: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

impl Picture {
    /// A picture that is kept as it came.
    #[must_use]
    pub fn original(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            renditions: Vec::new(),
        }
    }

    /// A picture by its renditions; nothing without any.
    #[must_use]
    pub fn of(renditions: Vec<Rendition>) -> Option<Self> {
        let name = renditions.last()?.name.clone();
        Some(Self { name, renditions })
    }

    /// Puts together what a row has of a picture. A previous release, still at work, changes the name alone.
    pub(crate) fn from_columns(name: String, renditions: Vec<Rendition>) -> Self {
        match Self::of(renditions) {
            Some(picture) if picture.name == name => picture,
            Some(_) | None => Self::original(name),
        }
    }
}
