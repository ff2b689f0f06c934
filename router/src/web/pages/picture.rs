//! Pictures of apps in pages: the browser chooses the size that it needs.

use catalog::{Digest, Picture, Rendition};

/// A picture, by the addresses of its files.
#[derive(Debug)]
pub(super) struct Shown {
    /// For whoever knows nothing of sizes: the smallest file.
    pub(super) address: String,
    /// All sizes with their widths, as `srcset` wants them; empty of a picture that is kept as it came.
    pub(super) sizes: String,
    /// The largest file.
    pub(super) whole: String,
    /// Width and height of the largest, by which room is kept before it is there.
    pub(super) room: Option<(u32, u32)>,
}

impl Shown {
    pub(super) fn of(picture: &Picture, bundle: &Digest) -> Self {
        let Picture { name, renditions } = picture;
        let address = |name: &str| format!("/assets/{bundle}/{name}");
        let sizes: Vec<String> = renditions
            .iter()
            .map(|Rendition { name, width, .. }| format!("{} {width}w", address(name)))
            .collect();
        let smallest = renditions.first().map_or(name, |smallest| &smallest.name);
        Self {
            address: address(smallest),
            sizes: sizes.join(", "),
            whole: address(name),
            room: renditions
                .last()
                .map(|largest| (largest.width, largest.height)),
        }
    }
}
