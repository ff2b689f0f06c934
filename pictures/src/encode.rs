//! Renditions as files.

use image::DynamicImage;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;

use crate::Error;

/// Above it files grow faster than anybody sees a difference.
const JPEG_QUALITY: u8 = 85;

/// What a rendition is encoded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JPEG
    Jpeg,
    /// WebP, lossless
    WebP,
}

impl Format {
    /// The end of such a file's name.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::WebP => "webp",
        }
    }
}

/// The picture in colours of eight bits a channel.
pub(crate) fn plain(picture: DynamicImage) -> DynamicImage {
    if picture.color().has_alpha() {
        picture.into_rgba8().into()
    } else {
        picture.into_rgb8().into()
    }
}

/// The picture without its alpha channel, where nothing shines through.
pub(crate) fn without_alpha(picture: DynamicImage) -> DynamicImage {
    let is_opaque = picture
        .as_rgba8()
        .is_some_and(|picture| picture.pixels().all(|pixel| pixel.0[3] == u8::MAX));
    if is_opaque {
        picture.into_rgb8().into()
    } else {
        picture
    }
}

/// The file of a plain picture: WebP without loss, or JPEG where nothing shines through and that is smaller.
pub(crate) fn encode(picture: &DynamicImage) -> Result<(Format, Vec<u8>), Error> {
    let mut lossless = Vec::new();
    picture
        .write_with_encoder(WebPEncoder::new_lossless(&mut lossless))
        .map_err(Error::Encode)?;
    if picture.color().has_alpha() {
        return Ok((Format::WebP, lossless));
    }
    let mut lossy = Vec::new();
    picture
        .write_with_encoder(JpegEncoder::new_with_quality(&mut lossy, JPEG_QUALITY))
        .map_err(Error::Encode)?;
    if lossy.len() < lossless.len() {
        Ok((Format::Jpeg, lossy))
    } else {
        Ok((Format::WebP, lossless))
    }
}
