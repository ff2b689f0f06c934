//! What holds for any input.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};

use bundle::{EnvRules, Limits, Manifest, Quantity};
use proptest::prelude::*;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

const APP_TOML: &str =
    "[App]\nName = \"sales\"\nVersion = \"2.1.0\"\n[Runtime]\nModule = \"app\"\n";

/// Small, so that a lucky bomb does not slow the tests down.
fn limits() -> Limits {
    Limits {
        total_bytes: 1 << 20,
        ..Limits::default()
    }
}

fn archive(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, content) in files {
        zip.start_file(name.as_str(), options)
            .expect("a name that can be written");
        zip.write_all(content).expect("memory");
    }
    zip.finish().expect("memory").into_inner()
}

/// Names in two folders, so that none is a file and a folder at once.
fn files() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    let name = "(code|static)/[a-zA-Z0-9äß _.-]{0,12}[a-z0-9]";
    let content = proptest::collection::vec(any::<u8>(), 0..300);
    proptest::collection::btree_map(name, content, 0..8).prop_map(|mut files| {
        files.insert("app.toml".into(), APP_TOML.into());
        files
    })
}

/// One line of an `app.toml`, with known keys and values of any kind.
fn line() -> impl Strategy<Value = String> {
    let header = prop::sample::select(vec![
        "[App]",
        "[Runtime]",
        "[[Env]]",
        "[[File]]",
        "[Link]",
        "[App.Name]",
        "[[App]]",
    ]);
    let key = prop::sample::select(vec![
        "Name",
        "Version",
        "Title",
        "Tags",
        "InstanceLifecycle",
        "InstanceTimeout",
        "Module",
        "VolumeMount",
        "VolumeSize",
        "MemoryLimit",
        "MemoryReservation",
        "CPULimit",
        "GPUCount",
        "EnableOIDC",
        "RoutingMode",
        "AppMode",
        "Port",
        "AppArgs",
        "Value",
        "Secret",
        "SecretKey",
        "Optional",
        "Path",
        "Address",
        "Unknown",
    ]);
    let value = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|flag| flag.to_string()),
        any::<f64>()
            .prop_filter("TOML has no such number", |n| n.is_finite())
            .prop_map(|n| format!("{n:?}")),
        "[ -~äß]{0,20}".prop_map(|text| format!("{}", toml::Value::String(text))),
        prop::sample::select(vec![
            "\"app\"",
            "\"1.0.0\"",
            "\"LINK\"",
            "\"1Gi\"",
            "\"/data\"",
            "[]",
            "[\"a\"]",
            "{ a = 1 }"
        ])
        .prop_map(str::to_owned),
    ];
    prop_oneof![
        1 => header.prop_map(str::to_owned),
        4 => (key, value).prop_map(|(key, value)| format!("{key} = {value}")),
    ]
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_with_words(text in "\\PC{0,200}") {
        if let Err(error) = Manifest::parse(&text, &EnvRules::default()) {
            prop_assert!(error.to_string().starts_with("app.toml: "));
        }
    }

    #[test]
    fn any_mix_of_known_keys_is_read_or_refused_with_reasons(lines in proptest::collection::vec(line(), 0..12)) {
        let text = lines.join("\n");
        if let Err(error) = Manifest::parse(&text, &EnvRules::default()) {
            let message = error.to_string();
            prop_assert!(message.len() > "app.toml: ".len(), "no reason for {text:?}");
            let _ = error.hint();
        }
    }

    #[test]
    fn any_quantity_is_read_or_refused(text in "[0-9.+-]{0,20}[a-zA-Z0-9]{0,4}") {
        if let Ok(quantity) = text.parse::<Quantity>() {
            prop_assert_eq!(quantity.as_str(), &text);
        }
    }

    #[test]
    fn any_bytes_are_no_bundle(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let refused = bundle::read(Cursor::new(&bytes), &limits(), &EnvRules::default());
        prop_assert!(refused.is_err());
    }

    #[test]
    fn a_valid_archive_comes_out_as_it_went_in(files in files()) {
        let bytes = archive(&files);
        let bundle = bundle::read(Cursor::new(&bytes), &limits(), &EnvRules::default()).expect("a bundle");
        let names: Vec<&String> = files.keys().collect();
        prop_assert_eq!(bundle.files.iter().collect::<Vec<_>>(), names);
        let folder = tempfile::tempdir().expect("a folder");
        bundle::unpack(Cursor::new(&bytes), folder.path(), &limits()).expect("unpacked");
        for (name, content) in &files {
            prop_assert_eq!(&fs::read(folder.path().join(name)).expect("a file"), content);
        }
    }

    /// Flips bytes of a valid archive. Whatever comes of it, nothing panics, and what is accepted
    /// unpacks to files of the names that reading told.
    #[test]
    fn a_damaged_archive_never_gets_out_of_hand(
        files in files(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = archive(&files);
        for (index, value) in flips {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        let read = bundle::read(Cursor::new(&bytes), &limits(), &EnvRules::default());
        let folder = tempfile::tempdir().expect("a folder");
        let into = folder.path().join("app");
        let unpacked = bundle::unpack(Cursor::new(&bytes), &into, &limits());
        if let Ok(bundle) = read {
            prop_assert!(unpacked.is_ok());
            for name in &bundle.files {
                prop_assert!(into.join(name).is_file());
            }
        }
        let beside = fs::read_dir(folder.path()).expect("a folder").count();
        prop_assert!(beside <= 1, "something lies outside");
    }

    #[test]
    fn hostile_names_are_refused(
        before in "[a-z]{0,3}",
        part in prop::sample::select(vec!["/../", "/./", "//", "\\", "\0", "\n", "\u{7f}"]),
        after in "[a-z]{1,3}",
    ) {
        let name = format!("{before}{part}{after}");
        // Writers may refuse such names: write a harmless one of that length, then exchange it.
        let harmless = "z".repeat(name.len());
        let mut files = BTreeMap::from([("app.toml".to_owned(), APP_TOML.into())]);
        files.insert(harmless.clone(), b"x".to_vec());
        let mut bytes = archive(&files);
        for start in 0..=bytes.len() - name.len() {
            if bytes[start..].starts_with(harmless.as_bytes()) {
                bytes[start..start + name.len()].copy_from_slice(name.as_bytes());
            }
        }
        let error = bundle::read(Cursor::new(&bytes), &limits(), &EnvRules::default()).expect_err("a hostile name");
        prop_assert_eq!(error.code(), "BadName");
    }
}
