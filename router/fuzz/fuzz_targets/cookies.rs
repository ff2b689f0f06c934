//! Whatever cookies come, an app sees its own in their order and none of the platform's.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    router::properties::cookies(text.split(|byte| *byte == b'\n'));
});
