//! No picture takes more memory than `MEMORY_BYTES`, whatever the format: held against an allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Cursor;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bundle::PictureFormat;
use image::{DynamicImage, ImageFormat};
use pictures::{Error, Kind, MEMORY_BYTES, shrink};

/// The system's allocator, and how many bytes are taken from it now and at most.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(
    unsafe_code,
    reason = "there is no other way to count what is allocated"
)]
// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(now, Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The most bytes that are taken while `task` runs.
fn most<T>(task: impl FnOnce() -> T) -> (usize, T) {
    let before = NOW.load(Relaxed);
    MOST.store(before, Relaxed);
    let done = task();
    (MOST.load(Relaxed) - before, done)
}

fn file(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("encoded");
    bytes.into_inner()
}

/// A JPEG file whose header says that it has so many pixels.
fn enlarged(jpeg: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut bytes = jpeg.to_vec();
    let frame = |four: &[u8]| four[0] == 0xff && matches!(four[1], 0xc0..=0xc2);
    let at = bytes.windows(4).position(frame).expect("a frame");
    bytes[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
    bytes[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
    bytes
}

// One test, since the counters are of the process.
#[test]
fn the_largest_pictures_stay_within_the_bound() {
    let bound = usize::try_from(MEMORY_BYTES).expect("a size");
    // What renditions and files add, and the decoder's copy of the file.
    let slack = 4 << 20;
    let rgba = DynamicImage::new_rgba8;
    let rgb = DynamicImage::new_rgb8;
    let cases = [
        ("4K with alpha", rgba(3840, 2160), ImageFormat::Png),
        ("a square", rgba(2600, 2600), ImageFormat::Png),
        ("a tall one", rgba(1500, 3000), ImageFormat::Png),
        (
            "16 bits",
            DynamicImage::new_rgba16(1900, 1100),
            ImageFormat::Png,
        ),
        ("a JPEG", rgb(3840, 2160), ImageFormat::Jpeg),
        ("a GIF", rgba(2700, 1500), ImageFormat::Gif),
        ("a WebP", rgba(2700, 1500), ImageFormat::WebP),
    ];
    for (name, picture, format) in cases {
        let bytes = file(&picture, format);
        drop(picture);
        let kind = PictureFormat::of(&bytes).expect(name);
        let (taken, made) = most(|| shrink(&bytes, kind, Kind::Screenshot));
        made.expect(name);
        eprintln!("{name}: {} KiB", taken >> 10);
        assert!(taken < bound + slack, "{name} took {taken} bytes");
    }

    // Whose header says that they are larger: what is missing is gray, and takes as much.
    let scans: [(&str, &[u8]); 4] = [
        ("progressive", include_bytes!("files/progressive.jpg")),
        ("in scans", include_bytes!("files/scans.jpg")),
        (
            "progressive CMYK",
            include_bytes!("files/cmyk-progressive.jpg"),
        ),
        ("CMYK", include_bytes!("files/cmyk.jpg")),
    ];
    for (name, bytes) in scans {
        let fits = enlarged(bytes, 2560, 1600);
        let (taken, made) = most(|| shrink(&fits, PictureFormat::Jpeg, Kind::Screenshot));
        eprintln!(
            "{name}: {} KiB, {:?}",
            taken >> 10,
            made.map(|made| made.len())
        );
        assert!(taken < bound + slack, "{name} took {taken} bytes");
        let bomb = enlarged(bytes, 9000, 9000);
        let (taken, made) = most(|| shrink(&bomb, PictureFormat::Jpeg, Kind::Screenshot));
        assert!(
            matches!(made, Err(Error::TooLarge { .. })),
            "{name}: {made:?}"
        );
        assert!(taken < slack, "{name}: {taken}");
    }

    // A few bytes that promise a great deal: in the header, or in a frame that is larger than the header says.
    let mut lie =
        b"RIFF\x80\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x09\0\0\x09\0\0VP8 \x64\0\0\0".to_vec();
    lie.extend(b"\x10\x00\x00\x9d\x01\x2a\xff\x3f\xff\x3f");
    lie.resize(138, 0);
    let (taken, made) = most(|| shrink(&lie, PictureFormat::WebP, Kind::Icon));
    assert!(matches!(made, Err(Error::Inconsistent { .. })), "{made:?}");
    assert!(taken < slack, "{taken}");
    let mut bomb = file(&DynamicImage::new_rgba8(1, 1), ImageFormat::Gif);
    bomb[6..10].copy_from_slice(&[0xff; 4]);
    let (taken, made) = most(|| shrink(&bomb, PictureFormat::Gif, Kind::Icon));
    assert!(matches!(made, Err(Error::TooLarge { .. })), "{made:?}");
    assert!(taken < slack, "{taken}");
}
