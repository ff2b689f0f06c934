//! Why a picture is left out.

/// Why no renditions are made of a picture. All texts go on from a subject: "`static/icon.png` is left out: it …".
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Decoding or scaling it takes more memory than one picture may.
    #[error(
        "it has {width} × {height} pixels, which take {} MiB to read; a picture may take {} MiB",
        needed_bytes.div_ceil(1 << 20),
        limit_bytes >> 20
    )]
    TooLarge {
        /// Width in pixels, as its header says.
        width: u32,
        /// Height in pixels, as its header says.
        height: u32,
        /// Bytes of memory that it needs.
        needed_bytes: u64,
        /// Bytes of memory that it may need.
        limit_bytes: u64,
    },
    /// A part of it is larger than the whole.
    #[error("it has {width} × {height} pixels, and a part of {part_width} × {part_height}")]
    Inconsistent {
        /// Width of the whole in pixels.
        width: u32,
        /// Height of the whole in pixels.
        height: u32,
        /// Width of the part.
        part_width: u32,
        /// Height of the part.
        part_height: u32,
    },
    /// It is damaged, or uses what the decoder does not know.
    #[error("it cannot be read: {0}")]
    Unreadable(#[source] image::ImageError),
    /// It could not be scaled.
    #[error("it cannot be scaled: {0}")]
    Resize(#[source] fast_image_resize::ResizeError),
    /// Its alpha channel could not be worked into its colours, or out of them.
    #[error("its transparency cannot be scaled: {0}")]
    Alpha(#[source] fast_image_resize::ImageError),
    /// A rendition could not be encoded.
    #[error("it cannot be encoded: {0}")]
    Encode(#[source] image::ImageError),
}
