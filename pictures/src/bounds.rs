//! How much memory a picture takes, told by its header before a pixel is decoded.
//!
//! The decoders' own limits bound the picture that they hand out, not what they need beside it; the figures below do, and
//! `tests/memory.rs` holds them against an allocator that counts.

use bundle::PictureFormat;
use image::{ImageDecoder, Limits};

use crate::Error;
use crate::fit::Size;

/// Most bytes that one picture may take at any moment, beside the file itself. A screenshot of 3840 × 2160 pixels with an
/// alpha channel fits.
pub const MEMORY_BYTES: u64 = 52 << 20;

/// What is asked of the decoders, which count only a part.
pub(crate) fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MEMORY_BYTES);
    limits
}

/// Refuses what would take too much memory to decode, and to scale to the size `largest`.
pub(crate) fn check(
    bytes: &[u8],
    format: PictureFormat,
    decoder: &impl ImageDecoder,
    largest: Size,
) -> Result<(), Error> {
    let (width, height) = decoder.dimensions();
    let size = Size { width, height };
    if format == PictureFormat::WebP {
        check_parts(bytes, size)?;
    }
    let pixel = u64::from(decoder.color_type().bytes_per_pixel());
    let plain = if decoder.color_type().has_alpha() {
        4
    } else {
        3
    };
    let needed_bytes = needed(size, largest, (pixel, plain), beside(bytes, format));
    if needed_bytes > MEMORY_BYTES {
        return Err(Error::TooLarge {
            width,
            height,
            needed_bytes,
            limit_bytes: MEMORY_BYTES,
        });
    }
    Ok(())
}

/// Bytes for each pixel that the decoder needs beside those that it hands out.
fn beside(bytes: &[u8], format: PictureFormat) -> u64 {
    match format {
        // Coefficients of 16 bits for up to four channels, until the last scan.
        PictureFormat::Jpeg if comes_in_scans(bytes) => 8,
        PictureFormat::Png | PictureFormat::Jpeg => 0,
        // A frame of an animation is laid on a canvas of its own.
        PictureFormat::Gif => 4,
        PictureFormat::WebP => 8,
    }
}

/// Whether no scan of a JPEG file has all of a pixel: it is progressive, or has its channels one after another. What cannot be followed
/// may be both.
fn comes_in_scans(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    let mut channels = 0;
    loop {
        let (marker, behind) = match rest {
            // Any number of 0xff may stand before a marker.
            [0xff, 0xff, ..] => {
                rest = &rest[1..];
                continue;
            }
            [0xff, marker, behind @ ..] => (*marker, behind),
            _ => return true,
        };
        let [high, low, ..] = *behind else {
            return true;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some((segment, next)) = behind.split_at_checked(length) else {
            return true;
        };
        match (marker, segment) {
            // Of a frame only the first two kinds are not progressive. Its precision, height, width, and the number of channels.
            (0xc0 | 0xc1, [_, _, _, _, _, _, _, count, ..]) => channels = channels.max(*count),
            (0xda, [_, _, count, ..]) => return *count < channels,
            // Tables, metadata, comments.
            (0xc4 | 0xdb | 0xdd | 0xe0..=0xef | 0xfe, _) => {}
            _ => return true,
        }
        rest = next;
    }
}

/// The most bytes at any moment: while the picture is decoded, while its pixels are made plain, or while the largest rendition is made
/// of them. `pixel` is what one takes as it is decoded, and when it is plain.
fn needed(size: Size, largest: Size, pixel: (u64, u64), beside: u64) -> u64 {
    let bytes = |pixels: u64, each: u64| pixels.saturating_mul(each);
    let (decoded, plain) = pixel;
    let decoding = bytes(size.pixels(), decoded + beside);
    let converting = if decoded == plain { 0 } else { plain };
    let converting = bytes(size.pixels(), decoded + converting);
    // One side is scaled before the other.
    let between = u64::from(size.width) * u64::from(largest.height);
    let between = between.max(u64::from(largest.width) * u64::from(size.height));
    let pixels = size.pixels().saturating_add(between);
    let scaling = bytes(pixels.saturating_add(largest.pixels()), plain);
    decoding.max(converting).max(scaling)
}

/// Refuses a WebP file with a part that says to be larger than the whole: the decoder makes room for the part before it compares.
fn check_parts(bytes: &[u8], whole: Size) -> Result<(), Error> {
    // A chunk's name, its length, a tag of three bytes, the start code, and two sides of 14 bits.
    for chunk in bytes.windows(18) {
        if !chunk.starts_with(b"VP8 ") || chunk[11..14] != [0x9d, 0x01, 0x2a] {
            continue;
        }
        let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
        let part = Size {
            width: side(chunk[14], chunk[15]),
            height: side(chunk[16], chunk[17]),
        };
        if part.width > whole.width || part.height > whole.height {
            return Err(Error::Inconsistent {
                width: whole.width,
                height: whole.height,
                part_width: part.width,
                part_height: part.height,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::Kind;

    #[test]
    fn what_people_take_pictures_with_fits_and_bombs_do_not() {
        let (width, height) = (3840, 2160);
        let cases = [
            ("4K with alpha", (width, height), 4, 0, true),
            ("4K of 16 bits a channel", (width, height), 8, 0, false),
            ("a laptop's, progressive", (2560, 1600), 3, 8, true),
            ("4K, progressive", (width, height), 3, 8, false),
            ("a phone's", (1170, 2532), 4, 0, true),
            ("5K", (5120, 2880), 3, 0, false),
            ("a bomb", (30_000, 30_000), 1, 0, false),
            ("a bomb of one line", (u32::MAX, 1), 1, 0, false),
            ("the largest header", (u32::MAX, u32::MAX), 8, 8, false),
        ];
        for (name, (width, height), pixel, beside, fits) in cases {
            let size = Size { width, height };
            let largest = Kind::Screenshot.sizes(size).pop().expect("a size");
            let plain = if pixel % 4 == 0 { 4 } else { 3 };
            let needed = needed(size, largest, (pixel, plain), beside);
            assert_eq!(needed <= MEMORY_BYTES, fits, "{name}: {needed}");
        }
    }
}
