//! Every command that the launcher runs. Pure: it builds them, others start them.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use bundle::{Packages, Requirements};

use crate::environment::Places;
use crate::process::Plan;
use crate::settings::{App, BaseUrl, Settings, Site};
use crate::variables::{self, Variables};

/// How long waved keeps a client's place while its browser reconnects. Its default of 5 s is shorter than
/// a laptop's change of network.
const RECONNECT_TIMEOUT: &str = "2m";

/// Access keys of one start of waved and app. waved's defaults are public knowledge.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    id: String,
    secret: String,
}

impl Keys {
    /// Makes keys out of 48 random bytes.
    pub(crate) fn new(random: &[u8; 48]) -> Self {
        let (id, secret) = random.split_at(16);
        Self {
            id: hex::encode(id),
            secret: hex::encode(secret),
        }
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn set(variables: &mut Variables, name: &str, value: impl Into<OsString>) {
    variables.insert(name.into(), value.into());
}

/// Tells the version of the Python interpreter.
pub(crate) fn python_version(site: &Site) -> Plan {
    Plan {
        program: site.python.clone(),
        args: words(["--version"]),
        folder: PathBuf::from("/"),
        variables: variables::for_uv(&site.variables, &site.folders.cache),
    }
}

/// Makes an empty virtual environment, in place of any other.
pub(crate) fn venv(site: &Site) -> Plan {
    let mut args = words([
        "venv",
        "--quiet",
        "--no-config",
        "--no-project",
        "--clear",
        "--relocatable",
        "--python",
    ]);
    args.push(site.python.clone().into());
    args.push(site.folders.venv.clone().into());
    Plan {
        program: site.uv.clone(),
        args,
        // Not the app's folder, whose `.python-version` is not for us.
        folder: PathBuf::from("/"),
        variables: variables::for_uv(&site.variables, &site.folders.cache),
    }
}

/// When modules are compiled to bytecode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bytecode {
    /// By Python, those that the app imports: to compile all takes seconds, for which somebody waits.
    AtImport,
    /// All of them now, for everybody who comes.
    Ahead,
}

/// Installs what the app requires, in the versions of `constraints` if there are any.
pub(crate) fn install(site: &Site, bytecode: Bytecode, constraints: Option<&Path>) -> Plan {
    let mut args = words(["pip", "install", "--no-config", "--python"]);
    args.push(site.folders.venv.join("bin/python").into());
    let mut variables = variables::for_uv(&site.variables, &site.folders.cache);
    if bytecode == Bytecode::Ahead {
        args.push("--compile-bytecode".into());
        // By default it is good for sources of one time, and packed files have none.
        set(&mut variables, "PYC_INVALIDATION_MODE", "UNCHECKED_HASH");
    }
    args.extend(words(["--requirements", Requirements::FILE]));
    if let Some(constraints) = constraints {
        args.extend(["--constraints".into(), constraints.into()]);
    }
    Plan {
        program: site.uv.clone(),
        args,
        folder: site.folders.app.clone(),
        variables,
    }
}

/// Finds out why an installation has failed. uv tells what an index has refused only when it may not look for packages in the
/// next one.
pub(crate) fn explain(site: &Site) -> Plan {
    let mut plan = install(site, Bytecode::AtImport, None);
    plan.args.push("--dry-run".into());
    set(&mut plan.variables, "UV_INDEX_STRATEGY", "first-index");
    plan
}

/// Tells the exact versions of all that is installed.
pub(crate) fn freeze(site: &Site) -> Plan {
    // Nothing but these: what else uv says is of this one machine.
    let mut args = words(["pip", "freeze", "--quiet", "--no-config", "--python"]);
    args.push(site.folders.venv.join("bin/python").into());
    Plan {
        program: site.uv.clone(),
        args,
        folder: PathBuf::from("/"),
        variables: variables::for_uv(&site.variables, &site.folders.cache),
    }
}

/// How apt is used by somebody who is not root: with folders of its own, for what the image has installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Apt {
    /// It has `lists`, `archives` and `unpacked`.
    pub(crate) folder: PathBuf,
    /// What takes the place of the image's sources, if anything does.
    pub(crate) sources: Option<PathBuf>,
}

impl Apt {
    /// Fetches the lists of packages.
    pub(crate) fn update(&self, site: &Site) -> Plan {
        // A list that cannot be fetched is an error, not a warning.
        self.get(site, &["update", "-o", "APT::Update::Error-Mode=any"])
    }

    /// Fetches packages, and what they need and the image lacks, into the folder.
    pub(crate) fn fetch(&self, site: &Site, packages: &Packages) -> Plan {
        let options = [
            "install",
            "--download-only",
            "--yes",
            "--no-install-recommends",
            "--no-remove",
            "--",
        ];
        let mut plan = self.get(site, &options);
        plan.args.extend(packages.iter().map(OsString::from));
        plan
    }

    fn get(&self, site: &Site, more: &[&str]) -> Plan {
        let mut args = words(["-qq"]);
        let mut option = |name: &str, value: &str| {
            args.push("-o".into());
            args.push(format!("{name}={value}").into());
        };
        let folder = self.folder.display();
        option("Dir::State::Lists", &format!("{folder}/lists"));
        option("Dir::Cache", &folder.to_string());
        // Larger than all that they save.
        option("Dir::Cache::pkgcache", "");
        option("Dir::Cache::srcpkgcache", "");
        if let Some(sources) = &self.sources {
            option("Dir::Etc::SourceList", &sources.display().to_string());
            option("Dir::Etc::SourceParts", "/dev/null");
        }
        // The locks are root's, and nobody else is here.
        option("Debug::NoLocking", "true");
        option("APT::Sandbox::User", "");
        option("Acquire::Languages", "none");
        option("Acquire::GzipIndexes", "true");
        option("Acquire::Retries", "3");
        option("Acquire::http::Timeout", "30");
        option("Acquire::https::Timeout", "30");
        if let Some(authorities) = site.variables.get(OsStr::new("SSL_CERT_FILE")) {
            option("Acquire::https::CaInfo", &authorities.to_string_lossy());
        }
        args.extend(more.iter().map(OsString::from));
        system(site, "apt-get", args)
    }
}

/// Unpacks a package, with what is to be done when it is installed in `DEBIAN`.
pub(crate) fn unpack_package(site: &Site, archive: &Path, into: &Path) -> Plan {
    let mut args = words(["--raw-extract"]);
    args.extend([archive.into(), into.into()]);
    system(site, "dpkg-deb", args)
}

fn system(site: &Site, program: &str, args: Vec<OsString>) -> Plan {
    Plan {
        program: program.into(),
        args,
        folder: PathBuf::from("/"),
        variables: variables::for_apt(&site.variables),
    }
}

/// Starts waved, in the folder that has its `www` and, other than the app's, no `.env` for it to read.
pub(crate) fn waved(settings: &Settings, base_url: &BaseUrl, keys: &Keys) -> Plan {
    let mut variables = variables::for_waved(&settings.site.variables);
    let reconnect = OsString::from("H2O_WAVE_RECONNECT_TIMEOUT");
    variables
        .entry(reconnect)
        .or_insert_with(|| RECONNECT_TIMEOUT.into());
    set(
        &mut variables,
        "H2O_WAVE_LISTEN",
        format!(":{}", settings.port),
    );
    set(&mut variables, "H2O_WAVE_BASE_URL", base_url.as_str());
    set(&mut variables, "H2O_WAVE_KEEP_APP_LIVE", "1");
    set(&mut variables, "H2O_WAVE_ACCESS_KEY_ID", &keys.id);
    set(&mut variables, "H2O_WAVE_ACCESS_KEY_SECRET", &keys.secret);
    Plan {
        program: settings.site.folders.venv.join("waved"),
        args: Vec::new(),
        folder: settings.site.folders.venv.clone(),
        variables,
    }
}

/// Starts the app, with what packages have brought at `places`.
pub(crate) fn app(settings: &Settings, keys: &Keys, places: &Places) -> Plan {
    let mut variables = variables::for_app(&settings.site.variables, &settings.site.folders.venv);
    places.add(&mut variables);
    let args = match &settings.app {
        App::Wave { module, base_url } => {
            let own = format!("http://127.0.0.1:{}", settings.internal_port);
            // The last two are what releases before 1.0 read.
            for name in [
                "H2O_WAVE_APP_ADDRESS",
                "H2O_WAVE_INTERNAL_ADDRESS",
                "H2O_WAVE_EXTERNAL_ADDRESS",
            ] {
                set(&mut variables, name, &own);
            }
            let server = format!("http://127.0.0.1:{}", settings.port);
            set(&mut variables, "H2O_WAVE_ADDRESS", server);
            set(&mut variables, "H2O_WAVE_BASE_URL", base_url.as_str());
            set(&mut variables, "H2O_WAVE_ACCESS_KEY_ID", &keys.id);
            set(&mut variables, "H2O_WAVE_ACCESS_KEY_SECRET", &keys.secret);
            // As `wave run` does: uploads by the app are copied, past waved's limit of a request.
            variables
                .entry("H2O_WAVE_WAVED_DIR".into())
                .or_insert_with(|| settings.site.folders.venv.clone().into());
            let mut args = words(["-m", "uvicorn"]);
            args.push(format!("{module}:main").into());
            args.extend(words(["--host", "127.0.0.1", "--port"]));
            args.push(settings.internal_port.to_string().into());
            args
        }
        App::Python { module, args, port } => {
            variables
                .entry("PORT".into())
                .or_insert_with(|| port.to_string().into());
            let mut all = words(["-m"]);
            all.push(module.into());
            all.extend(args.iter().map(OsString::from));
            all
        }
    };
    Plan {
        program: settings.site.folders.venv.join("bin/python"),
        args,
        folder: settings.site.folders.app.clone(),
        variables,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::settings;

    fn line(plan: &Plan) -> String {
        let mut line = format!("{}$ {}", plan.folder.display(), plan.program.display());
        for word in &plan.args {
            line.push(' ');
            line.push_str(&word.to_string_lossy());
        }
        line
    }

    fn value<'a>(plan: &'a Plan, name: &str) -> Option<&'a str> {
        plan.variables.get(&OsString::from(name))?.to_str()
    }

    #[test]
    fn commands_of_a_wave_app() {
        let settings = settings(&["--base-url=/instance/sales"]).unwrap();
        let App::Wave { base_url, .. } = &settings.app else {
            panic!("not a Wave app");
        };
        let keys = Keys::new(&[0xab; 48]);
        let waved = waved(&settings, base_url, &keys);
        let app = app(&settings, &keys, &Places::default());
        let site = &settings.site;
        let ahead = install(
            site,
            Bytecode::Ahead,
            Some(Path::new("/tmp/constraints.txt")),
        );
        let lines = [
            &venv(site),
            &install(site, Bytecode::AtImport, None),
            &ahead,
            &waved,
            &app,
        ]
        .map(line);
        assert_eq!(
            value(&ahead, "PYC_INVALIDATION_MODE"),
            Some("UNCHECKED_HASH")
        );
        assert_eq!(
            lines,
            [
                "/$ uv venv --quiet --no-config --no-project --clear --relocatable --python python3 /resources/venv",
                "/app$ uv pip install --no-config --python /resources/venv/bin/python --requirements requirements.txt",
                "/app$ uv pip install --no-config --python /resources/venv/bin/python --compile-bytecode --requirements requirements.txt --constraints /tmp/constraints.txt",
                "/resources/venv$ /resources/venv/waved",
                "/app$ /resources/venv/bin/python -m uvicorn app:main --host 127.0.0.1 --port 10103",
            ]
        );
        let expected = [
            ("H2O_WAVE_LISTEN", Some(":10101"), None),
            (
                "H2O_WAVE_BASE_URL",
                Some("/instance/sales/"),
                Some("/instance/sales/"),
            ),
            ("H2O_WAVE_KEEP_APP_LIVE", Some("1"), None),
            ("H2O_WAVE_RECONNECT_TIMEOUT", Some("2m"), None),
            ("H2O_WAVE_ADDRESS", None, Some("http://127.0.0.1:10101")),
            ("H2O_WAVE_APP_ADDRESS", None, Some("http://127.0.0.1:10103")),
            ("H2O_WAVE_WAVED_DIR", None, Some("/resources/venv")),
            ("PYTHONUNBUFFERED", None, Some("1")),
        ];
        for (name, for_waved, for_app) in expected {
            assert_eq!(
                (value(&waved, name), value(&app, name)),
                (for_waved, for_app),
                "{name}"
            );
        }
        for name in ["H2O_WAVE_ACCESS_KEY_ID", "H2O_WAVE_ACCESS_KEY_SECRET"] {
            let key = value(&waved, name);
            assert!(key.is_some_and(|key| key.len() >= 32), "{name}");
            assert_eq!(key, value(&app, name), "{name}");
        }
    }

    #[test]
    fn commands_that_fetch_packages() {
        let settings = settings(&[]).unwrap();
        let packages = Packages::from_bytes(b"jq libgomp1").unwrap().unwrap();
        let apt = Apt {
            folder: PathBuf::from("/tmp/packages"),
            sources: None,
        };
        let fetch = line(&apt.fetch(&settings.site, &packages));
        insta::assert_snapshot!(fetch, @"/$ apt-get -qq -o Dir::State::Lists=/tmp/packages/lists -o Dir::Cache=/tmp/packages -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Debug::NoLocking=true -o APT::Sandbox::User= -o Acquire::Languages=none -o Acquire::GzipIndexes=true -o Acquire::Retries=3 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 install --download-only --yes --no-install-recommends --no-remove -- jq libgomp1");
    }

    #[test]
    fn commands_of_a_python_app() {
        let settings = settings(&[
            "--app-mode=Python",
            "--app-port=8501",
            "--app-module=src/entry.py",
            r#"--app-args=["--theme", "dark"]"#,
        ]);
        let settings = settings.unwrap();
        let app = app(&settings, &Keys::new(&[0; 48]), &Places::default());
        assert_eq!(
            line(&app),
            "/app$ /resources/venv/bin/python -m src.entry --theme dark"
        );
        assert_eq!(value(&app, "PORT"), Some("8501"));
        assert_eq!(value(&app, "H2O_WAVE_ACCESS_KEY_ID"), None);
    }
}
