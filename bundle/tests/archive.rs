//! Archives: what a bundle gives, which archives are refused, and what unpacking leaves behind.

use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use bundle::{Bundle, EnvRules, Error, Limits, PictureFormat};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

const APP_TOML: &str =
    "[App]\nName = \"sales\"\nVersion = \"2.1.0\"\n[Runtime]\nModule = \"app\"\n";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\nand so on";
const JPEG: &[u8] = b"\xff\xd8\xff\xe0and so on";

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)
}

fn stored() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Stored)
}

/// An archive with these files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        if name.ends_with('/') {
            zip.add_directory(*name, options())
                .expect("a name that can be written");
            continue;
        }
        zip.start_file(*name, options())
            .expect("a name that can be written");
        zip.write_all(content).expect("memory");
    }
    zip.finish().expect("memory").into_inner()
}

/// An archive whose entries all have names of the same length as `"app.toml"` or longer ones, with
/// one name exchanged afterwards for another of the same length: what writers refuse to write.
fn forged(written: &str, forged: &str) -> Vec<u8> {
    assert_eq!(written.len(), forged.len(), "lengths must stay");
    let mut bytes = archive(&[("app.toml", APP_TOML.as_bytes()), (written, b"x")]);
    replace(&mut bytes, written.as_bytes(), forged.as_bytes());
    bytes
}

/// Replaces every occurrence.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    for start in 0..=bytes.len() - from.len() {
        if bytes[start..].starts_with(from) {
            bytes[start..start + from.len()].copy_from_slice(to);
        }
    }
}

fn read(bytes: &[u8]) -> Result<Bundle, Error> {
    read_within(bytes, &Limits::default())
}

fn read_within(bytes: &[u8], limits: &Limits) -> Result<Bundle, Error> {
    bundle::read(Cursor::new(bytes), limits, &EnvRules::default())
}

/// Reading and unpacking refuse an archive for the same reason, and unpacking writes nothing.
fn refused(bytes: &[u8]) -> String {
    let error = read(bytes).expect_err("a bad archive");
    assert!(error.blames_archive(), "{error}");
    let folder = tempfile::tempdir().expect("a folder");
    let into = folder.path().join("app");
    let again =
        bundle::unpack(Cursor::new(bytes), &into, &Limits::default()).expect_err("a bad archive");
    assert_eq!(error.to_string(), again.to_string());
    assert!(!into.exists(), "something was written");
    error.to_string()
}

#[test]
fn a_bundle_gives_what_the_store_shows() {
    let app_toml = APP_TOML.replace("[Runtime]", "LongDescription = \"./README.md\"\n[Runtime]");
    let bytes = archive(&[
        ("app.toml", app_toml.as_bytes()),
        ("app.py", b"print()"),
        ("README.md", "\u{feff}# Größe".as_bytes()),
        ("requirements.txt", b"h2o-wave"),
        ("static/screenshot-2.png", PNG),
        ("static/screenshot-1.jpg", JPEG),
        ("static/screenshot.svg", b"<svg/>"),
        ("static/icon-large.png", PNG),
        ("static/deeper/icon.png", PNG),
    ]);
    let bundle = read(&bytes).expect("a bundle");
    let icon = bundle.icon.as_ref().expect("an icon");
    assert_eq!(
        (icon.path.as_str(), icon.format),
        ("static/icon-large.png", PictureFormat::Png)
    );
    let inflated = icon.bytes(Cursor::new(&bytes), &Limits::default());
    assert_eq!(inflated.expect("the icon"), PNG);
    let names: Vec<&str> = bundle
        .screenshots
        .iter()
        .map(|shot| shot.path.as_str())
        .collect();
    assert_eq!(
        names,
        ["static/screenshot-1.jpg", "static/screenshot-2.png"]
    );
    assert_eq!(bundle.screenshots[0].format.media_type(), "image/jpeg");
    assert_eq!(bundle.long_description.as_deref(), Some("# Größe"));
    assert_eq!(
        bundle.warnings,
        ["`static/screenshot.svg` is left out: it is neither PNG, JPEG, GIF nor WebP"]
    );
    assert!(bundle.requirements.is_some());
    assert!(!bundle.has_file("packages.txt"));
    assert_eq!(bundle.files.len(), 9);
}

#[test]
fn what_the_store_cannot_show_is_left_out_with_a_warning() {
    let app_toml = APP_TOML.replace("[Runtime]", "LongDescription = \"missing.md\"\n[Runtime]");
    let mut large = PNG.to_vec();
    large.resize(
        usize::try_from(Limits::PICTURE_BYTES).expect("small") + 1,
        1,
    );
    let bytes = archive(&[
        ("app.toml", app_toml.as_bytes()),
        ("static/icon.png", &large),
    ]);
    let bundle = read(&bytes).expect("a bundle");
    assert_eq!(bundle.icon, None);
    assert_eq!(
        bundle.warnings,
        [
            "app.toml: `[App] LongDescription` is `missing.md`, which is not in the archive",
            "`static/icon.png` is left out: it is larger than 4194304 bytes",
        ]
    );
}

#[test]
fn a_bundle_needs_its_manifest_at_the_root() {
    let cases: [(&str, Vec<u8>, &str); 4] = [
        (
            "an empty archive",
            archive(&[]),
            "add an `app.toml` beside the app's code",
        ),
        (
            "a folder around everything",
            archive(&[
                ("my-app/app.toml", APP_TOML.as_bytes()),
                ("my-app/old/app.toml", b""),
            ]),
            "make the archive inside `my-app`, not around it",
        ),
        (
            "the wrong case",
            archive(&[("App.toml", b"")]),
            "rename `App.toml` to `app.toml`",
        ),
        (
            "a folder of that name",
            archive(&[("app.toml/x", b"")]),
            "add an `app.toml` beside the app's code",
        ),
    ];
    for (case, bytes, hint) in cases {
        let error = read(&bytes).expect_err(case);
        assert_eq!(
            error.to_string(),
            "the archive has no `app.toml` at its root",
            "{case}"
        );
        assert_eq!(error.hint().as_deref(), Some(hint), "{case}");
    }
    let error = read(&archive(&[("app.toml", b"[App]\n\xff")])).expect_err("not UTF-8");
    assert_eq!(error.to_string(), "app.toml: byte 6 is not UTF-8");
    let huge = vec![b'#'; usize::try_from(Limits::MANIFEST_BYTES).expect("small") + 1];
    let error = read(&archive(&[("app.toml", &huge)])).expect_err("too large");
    assert_eq!(
        error.to_string(),
        "`app.toml` in the archive inflates to more than 1048576 bytes"
    );
}

#[test]
fn mounts_that_hide_the_bundle_are_refused() {
    let cases = [
        (
            "VolumeMount = \"/app/data\"\nVolumeSize = \"1Gi\"",
            Some(
                "`[Runtime] VolumeMount` is `/app/data`, which would hide a file or folder of the bundle",
            ),
        ),
        ("VolumeMount = \"/app/dat\"\nVolumeSize = \"1Gi\"", None),
        ("[[File]]\nPath = \"data/rows.csv\"\nValue = \"\"", None),
        (
            "[[File]]\nPath = \"data/rows.csv/x\"\nValue = \"\"",
            Some(
                "`[[File]] #1 Path` is `/app/data/rows.csv/x`, which cannot be beside `data/rows.csv`: one of these files would be a folder",
            ),
        ),
        ("[[File]]\nPath = \"/etc/data\"\nValue = \"\"", None),
        (
            "[[File]]\nPath = \"a/b\"\nValue = \"\"",
            Some(
                "`[[File]] #1 Path` is `/app/a/b`, which would hide a file or folder of the bundle",
            ),
        ),
    ];
    for (lines, problem) in cases {
        let app_toml = format!("{APP_TOML}{lines}\n");
        let bytes = archive(&[
            ("app.toml", app_toml.as_bytes()),
            ("data/rows.csv", b"1"),
            ("a/b/c", b"1"),
        ]);
        let error = read(&bytes).err().map(|error| error.to_string());
        assert_eq!(
            error,
            problem.map(|problem| format!("app.toml: {problem}")),
            "{lines}"
        );
    }
}

#[test]
fn a_volume_may_not_close_a_folder_of_the_bundle() {
    let refused = |other: &str| {
        Some(format!(
            "app.toml: `[Runtime] VolumeMount` is `/app/data/cache/x`: Kubernetes makes the folder `data` around it, and then `{other}` cannot be put there"
        ))
    };
    let cases = [
        (
            "a file beside it",
            "data/rows.csv",
            "",
            refused("data/rows.csv"),
        ),
        (
            "a file one level up",
            "data/cache/rows.csv",
            "",
            refused("data/cache/rows.csv"),
        ),
        (
            "a folder beside it",
            "data/other/",
            "",
            refused("data/other"),
        ),
        ("the very folders", "data/cache/", "", None),
        ("a file of its folder's name", "data", "", refused("data")),
        ("elsewhere", "database/rows.csv", "", None),
        (
            "a file of app.toml beside it",
            "other.py",
            "[[File]]\nPath = \"data/key.pem\"\nValue = \"\"",
            refused("data/key.pem"),
        ),
        (
            "a file of app.toml in it",
            "other.py",
            "[[File]]\nPath = \"data/cache/x/key.pem\"\nValue = \"\"",
            None,
        ),
    ];
    for (name, entry, lines, problem) in cases {
        let app_toml = format!(
            "{APP_TOML}VolumeMount = \"/app/data/cache/x\"\nVolumeSize = \"1Gi\"\n{lines}\n"
        );
        let bytes = archive(&[("app.toml", app_toml.as_bytes()), (entry, b"")]);
        let error = read(&bytes).err().map(|error| error.to_string());
        assert_eq!(error, problem, "{name}");
    }
}

#[test]
fn hostile_names_are_refused() {
    let cases = [
        (
            "xx/passwd",
            "../passwd",
            "which has an empty, `.` or `..` part",
        ),
        ("xetc/passwd", "/etc/passwd", "which is an absolute path"),
        (
            "a/xx/xx/up",
            "a/../../up",
            "which has an empty, `.` or `..` part",
        ),
        ("aa/b", "a//b", "which has an empty, `.` or `..` part"),
        ("xxx/x", "C:/ab", "which is an absolute path"),
        ("xxxup", "..\\up", "which has a backslash"),
        ("nul-x", "nul\0x", "which has a control character"),
        ("esc-x", "esc\x1bx", "which has a control character"),
    ];
    for (written, name, fault) in cases {
        let expected = format!(
            "the archive has an entry named `{}`, {fault}",
            name.escape_debug()
        );
        assert_eq!(refused(&forged(written, name)), expected);
    }
}

#[test]
fn names_that_programs_read_differently_are_refused() {
    // Bytes that are not UTF-8, in an entry that says nothing about its encoding.
    let mut bytes = archive(&[("app.toml", APP_TOML.as_bytes()), ("groXXe", b"x")]);
    replace(&mut bytes, b"groXXe", b"gr\xf6\xdfee");
    insta::assert_snapshot!(refused(&bytes), @"the archive has an entry named `gr��ee`, which programs read differently");
}

#[test]
fn two_entries_of_one_name_are_refused() {
    insta::assert_snapshot!(
        refused(&forged("xpp.toml", "app.toml")),
        @"the archive is not a well-formed zip file: two entries have the same name"
    );
}

#[test]
fn names_that_differ_in_case_are_two_files() {
    let bytes = archive(&[
        ("app.toml", APP_TOML.as_bytes()),
        ("a.txt", b"1"),
        ("A.txt", b"2"),
    ]);
    let folder = tempfile::tempdir().expect("a folder");
    read(&bytes).expect("a bundle");
    bundle::unpack(Cursor::new(&bytes), folder.path(), &Limits::default()).expect("unpacked");
    assert_eq!(fs::read(folder.path().join("A.txt")).expect("a file"), b"2");
}

#[test]
fn a_file_where_a_folder_is_needed_is_refused() {
    let cases: [&[(&str, &[u8])]; 2] = [
        &[("app.toml", b""), ("a", b"1"), ("a/b", b"2")],
        &[("app.toml", b""), ("a/b/c", b"1"), ("a", b"2")],
    ];
    for files in cases {
        assert_eq!(
            refused(&archive(files)),
            "the archive has an entry named `a`, which is both a file and a folder"
        );
    }
}

#[test]
fn links_and_other_things_than_files_are_refused() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("app.toml", options()).expect("a name");
    zip.write_all(APP_TOML.as_bytes()).expect("memory");
    zip.add_symlink("static/secrets", "/var/run/secrets", options())
        .expect("a name");
    let bytes = zip.finish().expect("memory").into_inner();
    assert_eq!(
        refused(&bytes),
        "`static/secrets` in the archive is a symbolic link; only files and folders are allowed"
    );

    // The mode lies in the upper half of the external attributes, 8 bytes before the name.
    for (mode, kind) in [
        (0o010_644_u16, "a named pipe"),
        (0o020_644, "a device"),
        (0o140_644, "a socket"),
    ] {
        let mut bytes = archive(&[("app.toml", APP_TOML.as_bytes()), ("thing", b"")]);
        let name = bytes
            .windows(5)
            .rposition(|window| window == b"thing")
            .expect("the name");
        bytes[name - 6..name - 4].copy_from_slice(&mode.to_le_bytes());
        let expected =
            format!("`thing` in the archive is {kind}; only files and folders are allowed");
        assert_eq!(refused(&bytes), expected);
    }
}

#[test]
fn encrypted_entries_are_refused() {
    let mut bytes = archive(&[("app.toml", APP_TOML.as_bytes()), ("secret", b"x")]);
    for (signature, flags) in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)] {
        let start = bytes
            .windows(4)
            .rposition(|window| window == signature)
            .expect("a header");
        bytes[start + flags] |= 1;
    }
    assert_eq!(refused(&bytes), "`secret` in the archive is encrypted");
}

#[test]
fn unknown_compression_is_refused() {
    let mut bytes = archive(&[("app.toml", APP_TOML.as_bytes()), ("odd", b"x")]);
    for (signature, method) in [(b"PK\x03\x04", 8), (b"PK\x01\x02", 10)] {
        let start = bytes
            .windows(4)
            .rposition(|window| window == signature)
            .expect("a header");
        bytes[start + method] = 93;
    }
    insta::assert_snapshot!(refused(&bytes), @"`odd` in the archive is compressed by method Zstd, which is not supported");
}

#[test]
fn what_is_no_archive_is_refused() {
    let good = archive(&[("app.toml", APP_TOML.as_bytes())]);
    let mut prefixed = b"#!/bin/sh\n".to_vec();
    prefixed.extend(&good);
    let mut trailed = good.clone();
    trailed.extend(b"more");
    let cases: [(&str, &[u8]); 6] = [
        ("nothing", b""),
        ("a text", b"hello"),
        ("only half of it", &good[..good.len() / 2]),
        ("one byte short", &good[..good.len() - 1]),
        ("something in front", &prefixed),
        ("something behind", &trailed),
    ];
    let mut texts = Vec::new();
    for (case, bytes) in cases {
        texts.push(format!("{case}: {}", refused(bytes)));
    }
    insta::assert_snapshot!(texts.join("\n"), @r"
    nothing: the archive is not a well-formed zip file: it has no end record
    a text: the archive is not a well-formed zip file: it has no end record
    only half of it: the archive is not a well-formed zip file: it has no end record
    one byte short: the archive is not a well-formed zip file: it has no end record
    something in front: the archive is not a well-formed zip file: its directory does not lie right before its end
    something behind: the archive is not a well-formed zip file: there is something else after its end
    ");
}

/// CVE-2025-62518 is this in tar: a second archive that one reader skips and another one reads.
#[test]
fn a_second_directory_is_refused() {
    let shown = archive(&[("app.toml", APP_TOML.as_bytes())]);
    let hidden = archive(&[("app.toml", b"[App]\nName = \"evil\"\n")]);
    // The hidden archive as the comment of the shown one.
    let mut comment = shown.clone();
    let length = u16::try_from(hidden.len()).expect("short").to_le_bytes();
    let end = comment.len();
    comment[end - 2..].copy_from_slice(&length);
    comment.extend(&hidden);
    refused(&comment);
    // The hidden archive in front, skipped by readers that trust the offsets.
    let mut front = hidden.clone();
    front.extend(&shown);
    refused(&front);
}

/// Readers that stream see local headers, others the directory: both must say the same.
#[test]
fn local_headers_that_differ_from_the_directory_are_refused() {
    let good = archive(&[("app.toml", APP_TOML.as_bytes()), ("abc.py", b"print()")]);
    let first = |needle: &[u8]| {
        good.windows(needle.len())
            .position(|window| window == needle)
    };

    let mut other_name = good.clone();
    let at = first(b"abc.py").expect("a local header");
    other_name[at..at + 6].copy_from_slice(b"xyz.py");
    refused(&other_name);

    let mut other_method = good.clone();
    other_method[8] = 0;
    refused(&other_method);

    refused(&unlisted(&good, "abc.py"));
}

/// Takes an entry out of the directory, but leaves it in the archive.
fn unlisted(archive: &[u8], name: &str) -> Vec<u8> {
    let mut bytes = archive.to_vec();
    let at = bytes
        .windows(name.len())
        .rposition(|window| window == name.as_bytes());
    let start = at.expect("an entry") - 46;
    let length = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let record = 46 + length(start + 28) + length(start + 30) + length(start + 32);
    bytes.drain(start..start + record);
    let end = bytes.len() - 22;
    for at in [end + 8, end + 10] {
        bytes[at] -= 1;
    }
    let size = u32::from_le_bytes(bytes[end + 12..end + 16].try_into().expect("four bytes"));
    let size = size - u32::try_from(record).expect("short");
    bytes[end + 12..end + 16].copy_from_slice(&size.to_le_bytes());
    bytes
}

#[test]
fn damaged_content_is_refused() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("app.toml", stored()).expect("a name");
    zip.write_all(APP_TOML.as_bytes()).expect("memory");
    zip.start_file("data", stored()).expect("a name");
    zip.write_all(b"precious").expect("memory");
    let mut bytes = zip.finish().expect("memory").into_inner();
    replace(&mut bytes, b"precious", b"precioux");
    let error = read(&bytes).expect_err("a wrong checksum");
    assert_eq!(error.code(), "DamagedEntry");
    assert_eq!(error.to_string(), "`data` in the archive cannot be read");
}

#[test]
fn limits_hold_on_what_is_really_inflated() {
    let zeros = vec![0; 40 << 20];
    let bomb = archive(&[("app.toml", APP_TOML.as_bytes()), ("zeros", &zeros)]);
    assert!(bomb.len() < 60_000, "a bomb is small");
    let limits = Limits::default();
    let cases = [
        (
            limits,
            "the archive inflates to more than 200 times its size",
        ),
        (
            Limits {
                ratio: 2000,
                entry_bytes: 1 << 20,
                ..limits
            },
            "`zeros` in the archive inflates to more than 1048576 bytes",
        ),
        (
            Limits {
                ratio: 2000,
                total_bytes: 1 << 20,
                ..limits
            },
            "the archive inflates to more than 1048576 bytes",
        ),
        (
            Limits {
                entries: 1,
                ..limits
            },
            "the archive has 2 entries; at most 1 are allowed",
        ),
        (
            Limits {
                archive_bytes: 1000,
                ..limits
            },
            "the archive is larger than 1000 bytes",
        ),
    ];
    for (limits, message) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let error = read_within(&bomb, &limits).expect_err(message);
        assert_eq!(error.to_string(), message);
        assert!(error.hint().is_some(), "{message}");
        let error = bundle::unpack(Cursor::new(&bomb), folder.path(), &limits).expect_err(message);
        assert_eq!(error.to_string(), message);
    }
    let bundle = read_within(
        &bomb,
        &Limits {
            ratio: 2000,
            ..limits
        },
    )
    .expect("within limits");
    assert_eq!(bundle.unpacked_bytes, (zeros.len() + APP_TOML.len()) as u64);
}

/// A header may claim a small size; the bytes count. Such an archive inflates to its limit and no further.
#[test]
fn a_bomb_that_lies_about_its_size_is_refused() {
    let zeros = vec![0; 40 << 20];
    let mut bomb = archive(&[("app.toml", APP_TOML.as_bytes()), ("zeros", &zeros)]);
    let real = u32::try_from(zeros.len()).expect("small").to_le_bytes();
    replace(&mut bomb, &real, &1000_u32.to_le_bytes());
    let error = read(&bomb).expect_err("a lie");
    assert!(
        ["RatioTooLarge", "DamagedEntry", "NotAnArchive"].contains(&error.code()),
        "{error}"
    );
}

/// Entries that share one block of data are how 10 MB become 281 TB.
#[test]
fn overlapping_entries_are_refused() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("app.toml", options()).expect("a name");
    zip.write_all(APP_TOML.as_bytes()).expect("memory");
    zip.start_file("one", options()).expect("a name");
    zip.write_all(&vec![0; 1 << 20]).expect("memory");
    zip.shallow_copy_file("one", "two").expect("a copy");
    let bytes = zip.finish().expect("memory").into_inner();
    refused(&bytes);
}

/// An end record that claims millions of entries must not reserve memory for them.
#[test]
fn a_claim_of_many_entries_costs_nothing() {
    let mut bytes = archive(&[("app.toml", APP_TOML.as_bytes())]);
    let end = bytes.len() - 22;
    bytes[end + 8..end + 12].copy_from_slice(&[0xff; 4]);
    assert_eq!(
        refused(&bytes),
        "the archive has 65535 entries; at most 20000 are allowed"
    );
}

#[test]
fn unpacking_writes_files_folders_and_executable_bits() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_directory("empty/", options()).expect("a name");
    zip.start_file("app.toml", options().unix_permissions(0o600))
        .expect("a name");
    zip.write_all(APP_TOML.as_bytes()).expect("memory");
    zip.start_file("bin/run.sh", options().unix_permissions(0o6755))
        .expect("a name");
    zip.write_all(b"#!/bin/sh").expect("memory");
    let bytes = zip.finish().expect("memory").into_inner();
    let folder = tempfile::tempdir().expect("a folder");
    let into = folder.path().join("not/there/yet");
    // Twice: a restarted pod unpacks over what it finds.
    for _ in 0..2 {
        bundle::unpack(Cursor::new(&bytes), &into, &Limits::default()).expect("unpacked");
    }
    let mode = |name: &str| {
        fs::metadata(into.join(name))
            .expect("a file")
            .permissions()
            .mode()
    };
    assert_eq!(mode("app.toml") & 0o7111, 0);
    assert_eq!(mode("bin/run.sh") & 0o7111, 0o111);
    assert!(into.join("empty").is_dir());
    assert_eq!(
        fs::read_to_string(into.join("app.toml")).expect("a file"),
        APP_TOML
    );
}

#[test]
fn unpacking_never_follows_links_that_are_there() {
    let bytes = archive(&[("app.toml", APP_TOML.as_bytes()), ("static/icon.png", PNG)]);
    let folder = tempfile::tempdir().expect("a folder");
    let outside = folder.path().join("outside");
    let into = folder.path().join("app");
    fs::create_dir_all(&outside).expect("a folder");
    fs::create_dir_all(&into).expect("a folder");
    fs::write(outside.join("precious"), "mine").expect("a file");
    symlink(outside.join("precious"), into.join("app.toml")).expect("a link");
    symlink(&outside, into.join("static")).expect("a link");
    let error = bundle::unpack(Cursor::new(&bytes), &into, &Limits::default()).expect_err("a link");
    assert_eq!(error.code(), "Write");
    assert!(!error.blames_archive());
    assert_eq!(
        fs::read_to_string(outside.join("precious")).expect("a file"),
        "mine"
    );
    assert!(!Path::new(&outside).join("icon.png").exists());
}

#[test]
fn the_sample_apps_are_bundles() {
    let samples = Path::new("../e2e/apps");
    for name in [
        "hello",
        "docs-link",
        "broken-requirements",
        "crash-start",
        "crash-click",
    ] {
        let root = samples.join(name);
        let mut files = Vec::new();
        collect(&root, &root, &mut files);
        let named: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(name, content)| (name.as_str(), content.as_slice()))
            .collect();
        let bundle = read(&archive(&named)).expect(name);
        assert_eq!(bundle.warnings, Vec::<String>::new(), "{name}");
    }
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path
                .strip_prefix(root)
                .expect("below")
                .to_string_lossy()
                .into_owned();
            files.push((name, fs::read(&path).expect("a file")));
        }
    }
}
