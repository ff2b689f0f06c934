//! Any bytes are a bundle, or refused; and what is read is what is unpacked.
#![no_main]

use std::io::Cursor;

use bundle::{EnvRules, Limits};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let limits = Limits {
        total_bytes: 1 << 20,
        ..Limits::default()
    };
    let read = bundle::read(Cursor::new(bytes), &limits, &EnvRules::default());
    // Unpacking costs file system calls, and refuses by the same code: look only at what was accepted.
    if let Ok(bundle) = read {
        let folder = std::env::temp_dir().join(format!("bundle-fuzz-{}", std::process::id()));
        bundle::unpack(Cursor::new(bytes), &folder, &limits).expect("read accepted it");
        for name in &bundle.files {
            assert!(folder.join(name).is_file());
        }
        std::fs::remove_dir_all(&folder).expect("a folder of our own");
    }
});
