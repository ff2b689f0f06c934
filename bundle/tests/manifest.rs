//! `app.toml`: what is read, what is refused, and in which words.

use std::time::Duration;

use bundle::{AppMode, EnvRules, Error, InstanceTimeout, Lifecycle, Manifest, RoutingMode, Source};

fn parse(text: &str) -> Result<(Manifest, Vec<String>), Error> {
    Manifest::parse(text, &EnvRules::default())
}

fn read(text: &str) -> Manifest {
    parse(text).expect("a valid app.toml").0
}

/// A file with one line more in `[App]`.
fn app(line: &str) -> String {
    format!("[App]\nName = \"sales\"\nVersion = \"2.1.0\"\n{line}\n[Runtime]\nModule = \"app\"\n")
}

/// A file with one line more in `[Runtime]`.
fn runtime(line: &str) -> String {
    format!("[App]\nName = \"sales\"\nVersion = \"2.1.0\"\n[Runtime]\nModule = \"app\"\n{line}\n")
}

/// A file with tables after those of every app.
fn after(tables: &str) -> String {
    runtime(tables)
}

/// The message and hint of each file, in one text for a snapshot.
fn refusals<'a>(texts: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut blocks = Vec::new();
    for (line, text) in texts {
        let error = match parse(&text) {
            Err(error) => error,
            Ok((manifest, _)) => panic!("accepted {line:?} as {manifest:?}"),
        };
        let hint = error.hint().unwrap_or_else(|| "-".into());
        let line = line.escape_debug();
        blocks.push(format!("{line}\n  {error}\n  hint: {hint}"));
    }
    blocks.join("\n")
}

#[test]
fn every_key_is_read() {
    let (manifest, warnings) = parse(
        r#"
[App]
Name = "ai.h2o.wave.my-app"
Version = "0.0.1-rc.2"
Title = "My awesome app"
Description = "This is my awesome app"
LongDescription = "LongDescription.md"
Tags = ["DATA_SCIENCE", " Demo ", "", "Demo"]
InstanceLifecycle = "managed"
InstanceTimeout = "1h"
Category = "Other"
Keywords = ["awesome"]
SetupGuide = "guide.md"

[Runtime]
Module = "app.run"
RuntimeVersion = "deb11_py310_wlatest"
VolumeMount = "/data/"
VolumeSize = "1Gi"
ResourceVolumeSize = "2Gi"
MemoryLimit = "500Mi"
MemoryReservation = "400Mi"
CPULimit = 1.5
CPUReservation = "500m"
GPUCount = 1
GPUType = "a100"
EnableOIDC = true
EnableSHM = true
RoutingMode = "base_url"
AppMode = "Container"
Port = 8000
CustomImage = "example.com/image:1"
AppArgs = ["--flag", "a b"]
AppEntryPoint = "python -m start"

[[Env]]
Name = "TOKEN"
Secret = "SecretName"
SecretKey = "SecretKeyName"
Optional = true

[[Env]]
Name = "H2O_WAVE_MAX_REQUEST_SIZE"
Value = "20M"

[[Env]]
Name = "EMPTY"
Value = ""

[[File]]
Path = "some/path.file"
Secret = "FileSecretName"
SecretKey = "FileSecretKeyName"

[[File]]
Path = "/another/path.file"
Value = '''
some
string
'''
"#,
    )
    .expect("a valid app.toml");
    assert_eq!(warnings, Vec::<String>::new());
    insta::assert_debug_snapshot!(manifest);
}

#[test]
fn absent_and_empty_keys_have_the_same_defaults() {
    let absent = read(&runtime(""));
    let empty = read(
        r#"
[App]
Name = "sales"
Version = "2.1.0"
Title = ""
Description = ""
LongDescription = ""
Tags = []
InstanceLifecycle = ""
InstanceTimeout = ""
[Runtime]
Module = "app"
RuntimeVersion = ""
VolumeMount = ""
VolumeSize = ""
ResourceVolumeSize = ""
MemoryLimit = ""
GPUCount = 0
GPUType = ""
EnableOIDC = false
RoutingMode = ""
AppMode = ""
Port = 0
AppArgs = []
"#,
    );
    assert_eq!(absent, empty);
    assert_eq!(absent.app.title, "sales");
    assert_eq!(absent.app.lifecycle, Lifecycle::OnDemand);
    assert_eq!(absent.app.timeout, None);
    let runtime = absent.runtime.expect("an app that runs");
    assert_eq!(runtime.mode, AppMode::Wave);
    assert_eq!(runtime.routing_mode, RoutingMode::Domain);
    assert_eq!(runtime.port, None);
}

#[test]
fn words_of_enums_are_read_in_any_case() {
    let lifecycle = |word: &str| {
        read(&app(&format!("InstanceLifecycle = \"{word}\"")))
            .app
            .lifecycle
    };
    assert_eq!(lifecycle("ON_DEMAND"), Lifecycle::OnDemand);
    assert_eq!(lifecycle("On_Demand"), Lifecycle::OnDemand);
    assert_eq!(lifecycle("Managed"), Lifecycle::Managed);
    let routing = |word: &str| {
        let manifest = read(&runtime(&format!("RoutingMode = \"{word}\"")));
        manifest.runtime.expect("an app that runs").routing_mode
    };
    assert_eq!(routing("domain"), RoutingMode::Domain);
    assert_eq!(routing("BASE_URL"), RoutingMode::BaseUrl);
}

#[test]
fn timeouts_are_texts_or_the_number_that_stands_for_never() {
    let timeout = |value: &str| {
        read(&app(&format!("InstanceTimeout = {value}")))
            .app
            .timeout
    };
    let half_hour = Duration::from_mins(30);
    assert_eq!(timeout("\"30m\""), Some(InstanceTimeout::After(half_hour)));
    assert_eq!(timeout("\"-1\""), Some(InstanceTimeout::Never));
    assert_eq!(timeout("-1"), Some(InstanceTimeout::Never));
}

#[test]
fn link_apps_need_an_address_and_nothing_else() {
    let text = "[App]\nName = \"docs\"\nVersion = \"1.0.0\"\nInstanceLifecycle = \"LINK\"\n\
                [Link]\nAddress = \"https://example.com/docs?a=b\"\n";
    let manifest = read(text);
    assert_eq!(manifest.runtime, None);
    let link = manifest.link.expect("a link");
    assert_eq!(link.address.as_str(), "https://example.com/docs?a=b");
    // A [Runtime] left over from earlier does no harm.
    let manifest = read(&format!("{text}[Runtime]\nMemoryLimit = \"1Gi\"\n"));
    assert_eq!(manifest.runtime, None);
}

#[test]
fn an_empty_value_beside_a_secret_is_an_absent_one() {
    let manifest = read(&after(
        "[[Env]]\nName = \"A\"\nValue = \"\"\nSecret = \"s\"\nSecretKey = \"k\"\n",
    ));
    let Source::Secret(key) = &manifest.env[0].source else {
        panic!("not a secret: {:?}", manifest.env);
    };
    assert_eq!(
        (key.secret.as_str(), key.key.as_str(), key.optional),
        ("s", "k", false)
    );
}

#[test]
fn unknown_keys_are_warnings_with_dotted_names() {
    let (_, warnings) = parse(
        r#"
Title = "at the wrong place"
[App]
Name = "sales"
Version = "2.1.0"
title = "in the wrong case"
Colour = "blue"
[Runtime]
Module = "app"
VolumeSize = "1Gi"
Port = 80
AppArgs = ["--flag"]
CustomImage = "example.com/image:1"
AppEntryPoint = "python -m start"
[[Env]]
Name = "A"
Value = "1"
Comment = "mine"
Optional = true
[Link]
Address = "https://example.com"
[Deploy]
Region = "eu"
"#,
    )
    .expect("only warnings");
    insta::assert_snapshot!(warnings.join("\n"), @r#"
    app.toml: key `App.Colour` is unknown and ignored
    app.toml: key `App.title` is unknown and ignored; `Title` is the one with a meaning
    app.toml: key `Runtime.VolumeSize` is ignored, since there is no `VolumeMount`
    app.toml: key `Runtime.Port` is ignored: a Wave app is reached through waved
    app.toml: key `Runtime.AppArgs` is ignored: a Wave app is started by uvicorn
    app.toml: key `Runtime.CustomImage` is ignored: only `AppMode = "container"` uses it
    app.toml: key `Runtime.AppEntryPoint` is ignored: only `AppMode = "container"` uses it
    app.toml: `Optional` of `[[Env]] #1` is ignored, since it has a `Value`
    app.toml: key `Env.1.Comment` is unknown and ignored
    app.toml: table `Link` is ignored, since `InstanceLifecycle` is not `LINK`
    app.toml: table `Deploy` is unknown and ignored
    app.toml: key `Title` is unknown and ignored
    "#);
}

#[test]
fn one_run_reports_every_wrong_key() {
    let error = parse(
        "[App]\nName = \"-sales\"\nTags = \"Demo\"\n[Runtime]\nMemoryLimit = \"2GB\"\n\
         [[Env]]\nName = \"H2O_CLOUD_X\"\nValue = \"1\"\n",
    )
    .expect_err("four wrong keys");
    assert_eq!(error.code(), "Invalid");
    insta::assert_snapshot!(error.to_string().replace("; ", ";\n"), @r"
    app.toml: `[App] Name` is `-sales`, which is not made of letters, digits and `-_.` with a letter or digit at both ends;
    `[App] Version` is missing;
    `[App] Tags` is a string, not a list of strings;
    `[Runtime] Module` is missing;
    `[Runtime] MemoryLimit` is `2GB`, which is not a Kubernetes quantity;
    `[[Env]] #1 Name` is `H2O_CLOUD_X`, which only the platform sets
    ");
}

#[test]
fn syntax_errors_name_line_and_column() {
    let cases = [
        (
            "a text without its end",
            "[App]\nName = \"sales\nVersion = \"1.0.0\"\n",
        ),
        ("a key twice", "[App]\nName = \"a\"\nName = \"b\"\n"),
        ("a value without quotes", "[App]\nName = sales\n"),
        (
            "after a character of several bytes",
            "[App]\nTitle = \"Größe\" x\n",
        ),
        ("an unclosed table", "[App\n"),
    ];
    let mut texts = Vec::new();
    for (case, text) in cases {
        let error = parse(text).expect_err(case);
        assert_eq!(error.code(), "Syntax", "{case}");
        texts.push(format!("{case}: {error}"));
    }
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_no_harm() {
    let text = format!("\u{feff}{}", runtime("").replace('\n', "\r\n"));
    assert_eq!(read(&text), read(&runtime("")));
}

#[test]
fn wrong_keys_of_app_are_refused() {
    let long = "a".repeat(64);
    let lines = [
        "InstanceLifecycle = \"SOMETIMES\"".to_owned(),
        "InstanceTimeout = \"1d\"".to_owned(),
        "InstanceTimeout = 3600".to_owned(),
        "InstanceTimeout = true".to_owned(),
        "Title = 7".to_owned(),
        "Title = \"a\\u0000b\"".to_owned(),
        format!("Title = \"{}\"", "t".repeat(257)),
        "Tags = [1]".to_owned(),
        format!("Tags = [\"{long}\"]"),
        "Keywords = \"one\"".to_owned(),
    ];
    let texts = lines.iter().map(|line| (line.as_str(), app(line)));
    insta::assert_snapshot!(refusals(texts));
}

#[test]
fn wrong_names_and_versions_are_refused() {
    let identity = |name: &str, version: &str| {
        format!("[App]\nName = \"{name}\"\nVersion = \"{version}\"\n[Runtime]\nModule = \"app\"\n")
    };
    let long = "a".repeat(64);
    let nearly = "a".repeat(60);
    let cases = [
        ("empty", identity("", "1.0.0")),
        ("a space", identity("my app", "1.0.0")),
        ("a dot at the end", identity("app.", "1.0.0")),
        ("a slash", identity("../app", "1.0.0")),
        ("an umlaut", identity("größe", "1.0.0")),
        ("too long", identity(&long, "1.0.0")),
        ("too long together", identity(&nearly, "1.0.0")),
        ("two numbers", identity("app", "1.0")),
        ("a v in front", identity("app", "v1.2.3")),
        ("a leading zero", identity("app", "1.02.3")),
        ("build metadata", identity("app", "1.0.0+5")),
        ("words", identity("app", "latest")),
        (
            "a number without quotes",
            "[App]\nName = \"app\"\nVersion = 1.0\n[Runtime]\nModule = \"a\"".into(),
        ),
        ("nothing at all", String::new()),
        (
            "App is no table",
            "App = 1\n[Runtime]\nModule = \"a\"".into(),
        ),
    ];
    insta::assert_snapshot!(refusals(cases));
}

#[test]
fn wrong_keys_of_runtime_are_refused() {
    let lines = [
        "MemoryLimit = \"2GB\"",
        "MemoryLimit = \"2 gb\"",
        "MemoryLimit = \"lots\"",
        "MemoryLimit = \"-1Gi\"",
        "MemoryLimit = \"0\"",
        "MemoryLimit = \"400m\"",
        "MemoryLimit = [1]",
        "MemoryReservation = \"2Gi\"\nMemoryLimit = \"2G\"",
        "CPUReservation = 2\nCPULimit = \"1500m\"",
        "CPULimit = \"two\"",
        "VolumeMount = \"/data\"",
        "VolumeMount = \"data\"\nVolumeSize = \"1Gi\"",
        "VolumeMount = \"/\"\nVolumeSize = \"1Gi\"",
        "VolumeMount = \"/app\"\nVolumeSize = \"1Gi\"",
        "VolumeMount = \"/resources/data\"\nVolumeSize = \"1Gi\"",
        "VolumeMount = \"/data/../etc\"\nVolumeSize = \"1Gi\"",
        "VolumeMount = \"/var\"\nVolumeSize = \"1Gi\"",
        "VolumeMount = \"/data\"\nVolumeSize = \"big\"",
        "ResourceVolumeSize = true",
        "GPUCount = -1",
        "GPUCount = 4294967297",
        "GPUCount = \"1\"",
        "EnableOIDC = \"true\"",
        "EnableSHM = 1",
        "RoutingMode = \"PATH\"",
        "AppMode = \"java\"",
        "AppMode = \"python\"",
        "AppMode = \"python\"\nPort = 80",
        "AppMode = \"python\"\nPort = 70000",
        "AppMode = \"python\"\nPort = 10101",
        "AppMode = \"python\"\nPort = \"8000\"",
        "AppMode = \"container\"\nPort = 8000",
        "AppArgs = [\"a\", 1]",
        "AppEntryPoint = 1",
    ];
    let texts = lines.iter().map(|line| (*line, runtime(line)));
    insta::assert_snapshot!(refusals(texts));
}

#[test]
fn wrong_modules_are_refused() {
    let module = |value: &str| {
        format!("[App]\nName = \"sales\"\nVersion = \"2.1.0\"\n[Runtime]\nModule = \"{value}\"\n")
    };
    let values = [
        "",
        "app.py",
        "./src/app.py",
        "src/app",
        "a..b",
        "-m",
        "app; rm -rf /",
        "app:main",
    ];
    insta::assert_snapshot!(refusals(values.map(|value| (value, module(value)))));
    for value in ["app", "app.run", "src.my_app.main", "größe"] {
        let runtime = read(&module(value)).runtime.expect("an app that runs");
        assert_eq!(runtime.module, value);
    }
}

#[test]
fn wrong_env_and_files_are_refused() {
    let tables = [
        "[Env]\nName = \"A\"\nValue = \"1\"",
        "[[Env]]\nValue = \"1\"",
        "[[Env]]\nName = \"A\"",
        "[[Env]]\nName = \"A\"\nValue = 1",
        "[[Env]]\nName = \"A\"\nSecret = \"s\"",
        "[[Env]]\nName = \"A\"\nSecretKey = \"k\"",
        "[[Env]]\nName = \"A\"\nValue = \"1\"\nSecret = \"s\"\nSecretKey = \"k\"",
        "[[Env]]\nName = \"1A\"\nValue = \"1\"",
        "[[Env]]\nName = \"A=B\"\nValue = \"1\"",
        "[[Env]]\nName = \"H2O_WAVE_ADDRESS\"\nValue = \"http://evil\"",
        "[[Env]]\nName = \"WAVESTORE_STORE_URL\"\nValue = \"http://evil\"",
        "[[Env]]\nName = \"A\"\nValue = \"1\"\n[[Env]]\nName = \"A\"\nValue = \"2\"",
        "[[File]]\nValue = \"1\"",
        "[[File]]\nPath = \"a/b\"",
        "[[File]]\nPath = \"file\"\nValue = \"1\"",
        "[[File]]\nPath = \"./file\"\nValue = \"1\"",
        "[[File]]\nPath = \"/file\"\nValue = \"1\"",
        "[[File]]\nPath = \"/resources/file\"\nValue = \"1\"",
        "[[File]]\nPath = \"/proc/1/file\"\nValue = \"1\"",
        "[[File]]\nPath = \"../etc/file\"\nValue = \"1\"",
        "[[File]]\nPath = \"conf/\"\nValue = \"1\"",
        "[[File]]\nPath = \"a/b:c\"\nValue = \"1\"",
        "[[File]]\nPath = \"a/b\"\nValue = \"1\"\n[[File]]\nPath = \"/app/a/b\"\nValue = \"2\"",
        "[[File]]\nPath = \"a/b\"\nValue = \"1\"\n[[File]]\nPath = \"a/b/c\"\nValue = \"2\"",
        "[[File]]\nPath = \"a/b/c\"\nValue = \"1\"\n[[File]]\nPath = \"a/b\"\nValue = \"2\"",
        "File = [1]",
    ];
    let texts = tables
        .iter()
        .map(|table| (*table, format!("{}{table}", runtime(""))));
    insta::assert_snapshot!(refusals(texts.map(|(table, text)| {
        // A plain key belongs before the first table.
        if table.starts_with('[') {
            (table, text)
        } else {
            (table, format!("{table}\n{}", runtime("")))
        }
    })));
}

#[test]
fn wrong_links_are_refused() {
    let link = |tables: &str| {
        format!(
            "[App]\nName = \"docs\"\nVersion = \"1.0.0\"\nInstanceLifecycle = \"LINK\"\n{tables}\n"
        )
    };
    let tables = [
        "",
        "[Link]",
        "[Link]\nAddress = \"\"",
        "[Link]\nAddress = 1",
        "[Link]\nAddress = \"example.com\"",
        "[Link]\nAddress = \"javascript:alert(1)\"",
        "[Link]\nAddress = \"ftp://example.com/\"",
        "[Link]\nAddress = \"https://\"",
    ];
    insta::assert_snapshot!(refusals(tables.map(|tables| (tables, link(tables)))));
}

#[test]
fn values_of_strangers_stay_short_and_harmless() {
    let long = "x".repeat(100_000);
    let error =
        parse(&app(&format!("InstanceTimeout = \"\\u001b[2J{long}\""))).expect_err("too long");
    let message = error.to_string();
    assert!(message.len() < 1000, "{}", message.len());
    assert!(
        message.starts_with("app.toml: `[App] InstanceTimeout` is `\\u{1b}[2Jxxx"),
        "{message}"
    );

    let tables = "[[Env]]\nValue = \"1\"\n".repeat(1000);
    let Err(Error::Invalid(problems)) = parse(&after(&tables)) else {
        panic!("accepted variables without names");
    };
    assert_eq!(problems.len(), 50);
}

#[test]
fn an_admin_may_allow_other_names() {
    let text = after("[[Env]]\nName = \"H2O_CLOUD_REGION\"\nValue = \"eu\"\n");
    let rules = EnvRules::new(["H2O_CLOUD_REGION"]);
    let (manifest, _) = Manifest::parse(&text, &rules).expect("an allowed name");
    assert_eq!(manifest.env[0].name, "H2O_CLOUD_REGION");
}
