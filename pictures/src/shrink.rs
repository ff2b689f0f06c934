//! `shrink`: renditions of one picture.

use std::io::Cursor;

use bundle::PictureFormat;
use fast_image_resize::images::TypedImage;
use fast_image_resize::pixels::{U8x3, U8x4};
use fast_image_resize::{MulDiv, PixelTrait, ResizeOptions, Resizer};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage, RgbaImage};

use crate::encode::{Format, encode, plain, without_alpha};
use crate::fit::{Kind, Size};
use crate::{Error, bounds};

/// A picture in one of its sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// What it is encoded as.
    pub format: Format,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Makes the renditions of a picture, the smallest first and never none: upright, without metadata, none larger than the picture.
/// Of an animation it is the first frame. Takes at most [`bounds::MEMORY_BYTES`] beside `bytes` and what it returns.
///
/// # Errors
/// When the picture is damaged, or would take more memory; nothing is decoded then.
pub fn shrink(bytes: &[u8], format: PictureFormat, kind: Kind) -> Result<Vec<Rendition>, Error> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), codec(format));
    reader.limits(bounds::limits());
    let mut decoder = reader.into_decoder().map_err(Error::Unreadable)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let turns = turns(orientation);
    let (width, height) = decoder.dimensions();
    let lying = Size { width, height };
    let upright = if turns { lying.turned() } else { lying };
    let sizes = kind.sizes(upright);
    let largest = sizes.last().copied().unwrap_or(upright);
    let largest = if turns { largest.turned() } else { largest };
    bounds::check(bytes, format, &decoder, largest)?;

    let picture = DynamicImage::from_decoder(decoder).map_err(Error::Unreadable)?;
    let mut last = without_alpha(scale(plain(picture), largest)?);
    last.apply_orientation(orientation);
    // Each is made of the next larger one, so that the picture itself is soon gone.
    let mut renditions = Vec::new();
    for size in sizes.into_iter().rev() {
        last = scale(last, size)?;
        let (format, bytes) = encode(&last)?;
        renditions.push(Rendition {
            width: last.width(),
            height: last.height(),
            format,
            bytes,
        });
    }
    renditions.reverse();
    Ok(renditions)
}

/// Whether width and height change places.
fn turns(orientation: Orientation) -> bool {
    match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => true,
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => false,
    }
}

fn codec(format: PictureFormat) -> ImageFormat {
    match format {
        PictureFormat::Png => ImageFormat::Png,
        PictureFormat::Jpeg => ImageFormat::Jpeg,
        PictureFormat::Gif => ImageFormat::Gif,
        PictureFormat::WebP => ImageFormat::WebP,
    }
}

/// The picture in this size; what does not fit its shape is cut off on both sides.
fn scale(picture: DynamicImage, size: Size) -> Result<DynamicImage, Error> {
    let from = Size {
        width: picture.width(),
        height: picture.height(),
    };
    if from == size {
        return Ok(picture);
    }
    let Size { width, height } = size;
    // For two kinds of pixels alone: the resizer's code for all fifteen takes minutes to compile.
    let scaled = if let DynamicImage::ImageRgba8(mut picture) = picture {
        let pixels = resized::<U8x4>(&mut picture, from, size, true)?;
        RgbaImage::from_raw(width, height, pixels).map(DynamicImage::from)
    } else {
        let pixels = resized::<U8x3>(&mut picture.into_rgb8(), from, size, false)?;
        RgbImage::from_raw(width, height, pixels).map(DynamicImage::from)
    };
    Ok(scaled.expect("there are as many pixels as the size says"))
}

/// Scaled pixels. Those of the picture are premultiplied in place; the resizer by itself would copy them.
fn resized<P: PixelTrait>(
    picture: &mut [u8],
    from: Size,
    to: Size,
    has_alpha: bool,
) -> Result<Vec<u8>, Error> {
    let view = "a picture has as many pixels as its size says";
    let alpha = MulDiv::new();
    let mut picture = TypedImage::<P>::from_buffer(from.width, from.height, picture).expect(view);
    let bytes = to.width as usize * to.height as usize * size_of::<P>();
    let mut pixels = vec![0; bytes];
    let mut scaled = TypedImage::<P>::from_buffer(to.width, to.height, &mut pixels).expect(view);
    if has_alpha {
        alpha
            .multiply_alpha_inplace_typed(&mut picture)
            .map_err(Error::Alpha)?;
    }
    let options = ResizeOptions::new()
        .use_alpha(false)
        .fit_into_destination(Some((0.5, 0.5)));
    Resizer::new()
        .resize_typed(&picture, &mut scaled, &options)
        .map_err(Error::Resize)?;
    if has_alpha {
        alpha
            .divide_alpha_inplace_typed(&mut scaled)
            .map_err(Error::Alpha)?;
    }
    Ok(pixels)
}
