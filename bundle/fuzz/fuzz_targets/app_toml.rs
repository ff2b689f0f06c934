//! Any text is a manifest, or refused with reasons.
#![no_main]

use bundle::{EnvRules, Error, Manifest};

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Manifest::parse(text, &EnvRules::default()) {
        Ok((manifest, _)) => {
            let name_and_version = format!("{}-{}", manifest.app.name, manifest.app.version);
            assert!(name_and_version.len() <= 63);
            assert!(manifest.runtime.is_some() != manifest.link.is_some());
        }
        Err(error) => {
            assert!(matches!(error, Error::Syntax { .. } | Error::Invalid(_)));
            let message = error.to_string();
            assert!(message.len() > "app.toml: ".len());
            assert!(message.chars().all(|c| !c.is_control()));
            let _ = error.hint();
        }
    }
});
