//! Any host and path lead to the instance that they name, or to none.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (&str, &str)| {
    let (host, path) = input;
    router::properties::routing(host, path);
});
