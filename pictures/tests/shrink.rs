//! What becomes of pictures: of every kind that people have, and of those that somebody made to harm.

use std::io::Cursor;

use bundle::PictureFormat;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageEncoder, ImageFormat, Rgba, RgbaImage};
use pictures::{Error, Format, Kind, Rendition, shrink};

/// A picture of two halves, so that what is turned or cut can be seen: red on the left, blue on the right.
fn halves(width: u32, height: u32, alpha: u8) -> DynamicImage {
    RgbaImage::from_fn(width, height, |x, _| {
        if x < width / 2 {
            Rgba([255, 0, 0, alpha])
        } else {
            Rgba([0, 0, 255, alpha])
        }
    })
    .into()
}

fn file(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("encoded");
    bytes.into_inner()
}

/// Shrinks what the first bytes say it is.
fn shrunk(bytes: &[u8], kind: Kind) -> Result<Vec<Rendition>, Error> {
    shrink(bytes, PictureFormat::of(bytes).expect("a picture"), kind)
}

fn decoded(rendition: &Rendition) -> RgbaImage {
    let format = match rendition.format {
        Format::Jpeg => ImageFormat::Jpeg,
        Format::WebP => ImageFormat::WebP,
    };
    image::load_from_memory_with_format(&rendition.bytes, format)
        .expect("what every browser reads")
        .into_rgba8()
}

fn is_red(pixel: Rgba<u8>) -> bool {
    pixel.0[0] > 200 && pixel.0[2] < 60
}

#[test]
fn pictures_of_every_kind_become_a_few_widths() {
    let picture = halves(1200, 800, 255);
    let rgb16 = DynamicImage::from(picture.to_rgb16());
    let gray = DynamicImage::from(picture.to_luma8());
    let gray_alpha16 = DynamicImage::from(picture.to_luma_alpha16());
    let rgb = DynamicImage::from(picture.to_rgb8());
    let cases = [
        ("PNG", file(&picture, ImageFormat::Png)),
        ("PNG of 16 bits", file(&rgb16, ImageFormat::Png)),
        ("a gray PNG", file(&gray, ImageFormat::Png)),
        (
            "gray with alpha, 16 bits",
            file(&gray_alpha16, ImageFormat::Png),
        ),
        ("JPEG", file(&rgb, ImageFormat::Jpeg)),
        ("a gray JPEG", file(&gray, ImageFormat::Jpeg)),
        ("GIF", file(&picture, ImageFormat::Gif)),
        ("WebP", file(&picture, ImageFormat::WebP)),
    ];
    for (name, bytes) in cases {
        let renditions = shrunk(&bytes, Kind::Screenshot).expect(name);
        let sizes: Vec<_> = renditions.iter().map(|r| (r.width, r.height)).collect();
        assert_eq!(sizes, [(480, 320), (960, 640), (1200, 800)], "{name}");
        for rendition in &renditions {
            let seen = decoded(rendition);
            assert_eq!(
                seen.dimensions(),
                (rendition.width, rendition.height),
                "{name}"
            );
            if !name.contains("gray") {
                assert!(is_red(*seen.get_pixel(10, 10)), "{name}");
                assert!(!is_red(*seen.get_pixel(rendition.width - 10, 10)), "{name}");
            }
        }
    }
}

#[test]
fn progressive_and_cmyk_jpegs_are_read_in_their_colours() {
    let cases: [(&str, &[u8]); 3] = [
        ("progressive", include_bytes!("files/progressive.jpg")),
        ("CMYK", include_bytes!("files/cmyk.jpg")),
        (
            "progressive CMYK",
            include_bytes!("files/cmyk-progressive.jpg"),
        ),
    ];
    for (name, bytes) in cases {
        let renditions = shrunk(bytes, Kind::Screenshot).expect(name);
        let sizes: Vec<_> = renditions.iter().map(|r| (r.width, r.height)).collect();
        assert_eq!(sizes, [(96, 64)], "{name}");
        let seen = decoded(&renditions[0]);
        for (x, y) in [(4, 4), (40, 32), (4, 60)] {
            let [left, right] = [x, 95 - x].map(|x| *seen.get_pixel(x, y));
            assert!(is_red(left), "{name}: {left:?}");
            let [red, _, blue, _] = right.0;
            assert!(blue > 200 && red < 60, "{name}: {right:?}");
        }
    }
}

#[test]
fn icons_are_squares_and_keep_what_shines_through() {
    let icon = RgbaImage::from_fn(600, 300, |x, y| {
        let inside = (250..350).contains(&x) && (100..200).contains(&y);
        Rgba([255, 0, 0, if inside { 255 } else { 0 }])
    });
    let renditions = shrunk(&file(&icon.into(), ImageFormat::Png), Kind::Icon).expect("an icon");
    let sizes: Vec<_> = renditions.iter().map(|r| (r.width, r.height)).collect();
    assert_eq!(sizes, [(64, 64), (128, 128), (256, 256)]);
    for rendition in &renditions {
        let seen = decoded(rendition);
        let side = rendition.width;
        assert_eq!(seen.get_pixel(0, 0).0[3], 0, "the corner is clear");
        assert_eq!(*seen.get_pixel(side / 2, side / 2), Rgba([255, 0, 0, 255]));
        // Clear pixels have no colour that could bleed into others.
        let edges = seen.pixels().filter(|pixel| (1..255).contains(&pixel.0[3]));
        assert!(edges.clone().all(|pixel| pixel.0[0] > 240), "{side}");
    }
}

#[test]
fn what_lies_on_its_side_is_turned_and_its_metadata_is_gone() {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
    // Orientation 6: to be turned clockwise. Then the name of a place.
    let exif = b"II\x2a\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00SECRET-PLACE";
    encoder.set_exif_metadata(exif.to_vec()).expect("EXIF");
    let picture = halves(800, 400, 255).into_rgb8();
    picture.write_with_encoder(encoder).expect("encoded");
    assert!(bytes.windows(12).any(|part| part == b"SECRET-PLACE"));

    let renditions = shrunk(&bytes, Kind::Screenshot).expect("a picture");
    let sizes: Vec<_> = renditions.iter().map(|r| (r.width, r.height)).collect();
    assert_eq!(sizes, [(400, 800)]);
    let seen = decoded(&renditions[0]);
    assert!(is_red(*seen.get_pixel(200, 20)), "the left is on top now");
    assert!(!is_red(*seen.get_pixel(200, 780)));
    assert!(!renditions[0].bytes.windows(6).any(|part| part == b"SECRET"));
}

#[test]
fn the_same_picture_gives_the_same_files() {
    let bytes = file(&halves(1000, 700, 200), ImageFormat::Png);
    let [one, two] = [(); 2].map(|()| shrunk(&bytes, Kind::Screenshot).expect("a picture"));
    assert_eq!(one, two);
}

#[test]
fn of_an_animation_the_first_frame_is_shown() {
    let mut bytes = Vec::new();
    {
        let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
        for color in [[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255]] {
            let frame = RgbaImage::from_pixel(90, 60, Rgba(color));
            encoder
                .encode_frame(image::Frame::new(frame))
                .expect("a frame");
        }
    }
    let renditions = shrunk(&bytes, Kind::Screenshot).expect("a picture");
    assert_eq!(renditions.len(), 1);
    assert!(is_red(*decoded(&renditions[0]).get_pixel(45, 30)));
}

/// A PNG that says to have so many pixels of eight bits and one gray channel, and has none.
fn bomb(width: u32, height: u32) -> Vec<u8> {
    let one = DynamicImage::new_luma8(1, 1);
    let mut bytes = file(&one, ImageFormat::Png);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let checksum = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

/// A WebP that says to be 10 × 10, with a part that says to be 16383 × 16383.
fn lying_webp() -> Vec<u8> {
    let mut bytes = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x09\0\0\x09\0\0VP8 ".to_vec();
    let frame = [&b"\x10\x00\x00\x9d\x01\x2a\xff\x3f\xff\x3f"[..], &[0; 90]].concat();
    bytes.extend(u32::try_from(frame.len()).expect("short").to_le_bytes());
    bytes.extend(frame);
    let size = u32::try_from(bytes.len() - 8).expect("short");
    bytes[4..8].copy_from_slice(&size.to_le_bytes());
    bytes
}

#[test]
fn what_is_damaged_or_made_to_harm_is_left_out_and_says_why() {
    let whole = file(&halves(300, 200, 255), ImageFormat::Png);
    let jpeg = file(&halves(300, 200, 255).to_rgb8().into(), ImageFormat::Jpeg);
    let cases = [
        (
            "a bomb",
            bomb(30_000, 30_000),
            "it has 30000 × 30000 pixels, which take 3434 MiB to read; a picture may take 52 MiB",
        ),
        (
            "the largest there is",
            bomb(0x7fff_ffff, 0x7fff_ffff),
            "it cannot be read: Memory limit exceeded",
        ),
        ("no pixels", bomb(0, 10), "it cannot be read: "),
        (
            "a truncated PNG",
            whole[..whole.len() / 2].to_vec(),
            "it cannot be read: ",
        ),
        (
            "the beginning alone",
            whole[..8].to_vec(),
            "it cannot be read: ",
        ),
        (
            "a JPEG of nothing",
            jpeg[..20].to_vec(),
            "it cannot be read: ",
        ),
        (
            "a GIF of nothing",
            b"GIF89a".to_vec(),
            "it cannot be read: ",
        ),
        (
            "a WebP of nothing",
            b"RIFF\0\0\0\0WEBP".to_vec(),
            "it cannot be read: ",
        ),
        (
            "a WebP that lies",
            lying_webp(),
            "it has 10 × 10 pixels, and a part of 16383 × 16383",
        ),
    ];
    for (name, bytes, expected) in cases {
        let error = shrunk(&bytes, Kind::Screenshot)
            .expect_err(name)
            .to_string();
        assert!(error.starts_with(expected), "{name}: {error}");
    }
}
