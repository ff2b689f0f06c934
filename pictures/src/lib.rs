//! Apps' icons and screenshots, made anew: decoded within bounds, scaled to a few widths, and encoded as what every browser shows.
//!
//! What strangers put into a bundle is never served as it came. [`shrink`] decides by the header whether a picture is decoded at all,
//! and what it makes has no metadata. No network, no files and no async code belongs here.

mod bounds;
mod encode;
mod error;
mod fit;
mod shrink;

pub use bounds::MEMORY_BYTES;
pub use encode::Format;
pub use error::Error;
pub use fit::Kind;
pub use shrink::{Rendition, shrink};

/// The way in which renditions are made. It rises with whatever changes them, and all that were made in another way are made again.
pub const RECIPE: u32 = 1;
