//! Any bytes become renditions, none larger than asked for, or are refused; cargo-fuzz's limit on memory is the second assertion.
#![no_main]

use bundle::PictureFormat;
use pictures::{Kind, shrink};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(format) = PictureFormat::of(bytes) else {
        return;
    };
    for (kind, widest) in [(Kind::Icon, 256), (Kind::Screenshot, 1600)] {
        if let Ok(renditions) = shrink(bytes, format, kind) {
            assert!(!renditions.is_empty());
            assert!(renditions.iter().all(|rendition| rendition.width <= widest));
        }
    }
});
