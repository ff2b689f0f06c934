//! Whatever headers come, an app sees no credential of the platform and no claim about the viewer but ours.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let lines = text.split(|byte| *byte == b'\n').map(|line| {
        let at = line.iter().position(|byte| *byte == b':');
        at.map_or((line, &[][..]), |at| (&line[..at], &line[at + 1..]))
    });
    router::properties::rewriting(lines);
});
