//! `Settings`: the checked form of the arguments.

use std::collections::HashSet;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::args::{Args, SiteArgs};
use crate::digest::Digest;
use crate::environment::EnvironmentKey;
use crate::error::Error;
use crate::fetch::Store;
use crate::files::AppFiles;
use crate::store_url::StoreUrl;
use crate::variables::Variables;

/// What kind of app to start, as the chart spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// The Wave server and a Wave app behind it.
    #[value(name = "Wave")]
    Wave,
    /// Any Python web server.
    #[value(name = "Python")]
    Python,
}

/// Arguments of a Python app.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct AppArgs(pub(crate) Vec<String>);

impl FromStr for AppArgs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
            .map(Self)
            .map_err(|error| format!("not a JSON list of strings: {error}"))
    }
}

/// Path below which the app is reached; begins and ends with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BaseUrl(String);

impl BaseUrl {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = format!("/{}", text.trim_start_matches('/'));
        if path.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("a path has no blanks".to_owned());
        }
        let slash = if path.ends_with('/') { "" } else { "/" };
        Ok(Self(format!("{path}{slash}")))
    }
}

/// The app, and all that only its mode needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum App {
    /// A Wave app: the Wave server is started with it.
    Wave {
        /// Module that has `main`.
        module: String,
        /// Path below which it is reached.
        base_url: BaseUrl,
    },
    /// A Python web server.
    Python {
        /// Module to run.
        module: String,
        /// Its arguments.
        args: Vec<String>,
        /// Port on which it listens.
        port: u16,
    },
}

impl App {
    /// What one that runs and is not ready has not done yet, and why that may be.
    pub(crate) fn lack(&self, is_registered: bool, port: u16) -> String {
        match self {
            Self::Wave { .. } if !is_registered => {
                "has not registered with the Wave server yet (hint: its module needs `main` of h2o_wave and a function with \
                 `@app(...)`; what it does while it is imported may take long, too)"
                    .to_owned()
            }
            Self::Wave { .. } => format!("does not listen on port {port}, though it has registered"),
            Self::Python { .. } => format!(
                "does not listen on port {port} yet (hint: it is told the port in `PORT`, and `Port` in app.toml has to be the same)"
            ),
        }
    }
}

/// Folders of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folders {
    /// The unpacked bundle.
    pub(crate) app: PathBuf,
    /// The virtual environment.
    pub(crate) venv: PathBuf,
    /// uv's cache, on the same file system as the environment, so that files are linked, not copied.
    pub(crate) cache: PathBuf,
    /// Debian packages on their way into the environment, on the same file system as that.
    pub(crate) packages: PathBuf,
    /// The packed environment, where there is room for it.
    pub(crate) packed: PathBuf,
    /// Downloads.
    pub(crate) scratch: PathBuf,
}

/// What every task needs: where the bundle comes from, folders, programs.
#[derive(Debug)]
pub(crate) struct Site {
    /// Digest of the bundle.
    pub(crate) digest: Digest,
    pub(crate) store_url: StoreUrl,
    pub(crate) token_file: PathBuf,
    pub(crate) folders: Folders,
    pub(crate) uv: PathBuf,
    pub(crate) python: PathBuf,
    pub(crate) ca_file: PathBuf,
    pub(crate) termination_log: PathBuf,
    /// Where the kernel tells of the container's memory.
    pub(crate) cgroups: PathBuf,
    pub(crate) fetch_deadline: Duration,
    pub(crate) log: EnvFilter,
    /// The environment that the launcher was started with.
    pub(crate) variables: Variables,
}

impl Site {
    pub(crate) fn new(args: SiteArgs, variables: Variables) -> Self {
        let SiteArgs {
            bundle_digest,
            store_url,
            token_file,
            app_dir,
            resources_dir,
            scratch_dir,
            uv,
            python,
            ca_file,
            termination_log,
            cgroup_dir,
            fetch_deadline,
            log,
        } = args;
        Self {
            digest: bundle_digest,
            store_url,
            token_file,
            folders: Folders {
                app: app_dir,
                venv: resources_dir.join("venv"),
                cache: resources_dir.join("uv-cache"),
                packages: resources_dir.join("packages"),
                packed: resources_dir.join("environment.tar.zst"),
                scratch: scratch_dir,
            },
            uv,
            python,
            ca_file,
            termination_log,
            cgroups: cgroup_dir,
            fetch_deadline,
            log,
            variables,
        }
    }

    /// The way to the store.
    pub(crate) fn store(&self) -> Store<'_> {
        Store {
            url: &self.store_url,
            token_file: &self.token_file,
            deadline: self.fetch_deadline,
        }
    }
}

/// An environment that the store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prepared {
    pub(crate) key: EnvironmentKey,
    /// What it must have: the operator's word, not the store's.
    pub(crate) digest: Digest,
}

/// Everything that a launcher was told which runs an app.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) site: Site,
    pub(crate) instance: String,
    pub(crate) prepared: Option<Prepared>,
    pub(crate) app: App,
    pub(crate) files: AppFiles,
    pub(crate) port: u16,
    pub(crate) health_port: u16,
    pub(crate) internal_port: u16,
    pub(crate) grace: Duration,
    pub(crate) slow_start: Duration,
    pub(crate) silence: Duration,
    pub(crate) start_attempts: u32,
    pub(crate) restart_delay: Duration,
    pub(crate) longest_restart_delay: Duration,
}

impl Settings {
    /// Checks what clap cannot.
    pub(crate) fn new(args: Args, variables: Variables) -> Result<Self, Error> {
        let Args {
            site,
            environment_key,
            environment_digest,
            instance,
            app_mode,
            app_module,
            arguments: AppArgs(arguments),
            app_files,
            app_port,
            base_url,
            port,
            health_port,
            internal_port,
            grace,
            slow_start,
            silence,
            start_attempts,
            restart_delay,
            longest_restart_delay,
        } = args;

        let module = module_name(&app_module);
        if module.is_empty() {
            return Err(Error::Usage("`--app-module` is empty".to_owned()));
        }
        let mut taken = vec![port, health_port];
        let app = match app_mode {
            Mode::Wave => {
                taken.push(internal_port);
                App::Wave { module, base_url }
            }
            Mode::Python => {
                let port = app_port
                    .ok_or_else(|| Error::Usage("a Python app needs `--app-port`".to_owned()))?;
                taken.push(port);
                App::Python {
                    module,
                    args: arguments,
                    port,
                }
            }
        };
        let mut ports = HashSet::new();
        if let Some(port) = taken.into_iter().find(|port| !ports.insert(*port)) {
            return Err(Error::Usage(format!("port `{port}` is given twice")));
        }

        Ok(Self {
            site: Site::new(site, variables),
            instance,
            prepared: environment_key
                .zip(environment_digest)
                .map(|(key, digest)| Prepared { key, digest }),
            app,
            files: app_files,
            port,
            health_port,
            internal_port,
            grace,
            slow_start,
            silence,
            start_attempts,
            restart_delay,
            longest_restart_delay,
        })
    }
}

/// Takes `./src/run.py` for `src.run`, as `wave run` does.
fn module_name(text: &str) -> String {
    let text = text.trim();
    let text = text.strip_prefix("./").unwrap_or(text);
    match text.strip_suffix(".py") {
        Some(path) => path.replace('/', "."),
        None => text.to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser as _;

    use super::*;

    /// Settings as the chart gives them, with more flags.
    pub(crate) fn settings(more: &[&str]) -> Result<Settings, Error> {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let mut argv = vec![
            "wavestore-launcher",
            "--instance=sales",
            "--store-url=http://wavestore-internal.wavestore.svc:8081",
            "--bundle-digest",
            &digest,
        ];
        argv.extend(more);
        if !more.iter().any(|flag| flag.starts_with("--app-module")) {
            argv.push("--app-module=app");
        }
        Settings::new(Args::parse_from(argv), Variables::new())
    }

    #[test]
    fn modules_are_spelled_as_wave_run_takes_them() {
        let cases = [
            ("app", "app"),
            ("src.run", "src.run"),
            ("app.py", "app"),
            ("./src/run.py", "src.run"),
            (" app ", "app"),
        ];
        for (text, expected) in cases {
            assert_eq!(module_name(text), expected, "{text}");
        }
    }

    #[test]
    fn base_urls_begin_and_end_with_a_slash() {
        for text in ["instance/a", "/instance/a", "/instance/a/", "//instance/a/"] {
            assert_eq!(
                text.parse(),
                Ok(BaseUrl("/instance/a/".to_owned())),
                "{text}"
            );
        }
        assert_eq!("/".parse(), Ok(BaseUrl("/".to_owned())));
        assert_eq!("".parse(), Ok(BaseUrl("/".to_owned())));
        assert!("/a b/".parse::<BaseUrl>().is_err());
    }

    #[test]
    fn ports_may_not_collide() {
        let cases: [(&str, &[&str], Option<&str>); 4] = [
            ("the chart's own", &[], None),
            (
                "Python without a port",
                &["--app-mode=Python"],
                Some("a Python app needs `--app-port`"),
            ),
            (
                "Python on the health port",
                &["--app-mode=Python", "--app-port=10102"],
                Some("port `10102` is given twice"),
            ),
            (
                "Wave with one port for two things",
                &["--internal-port=10101"],
                Some("port `10101` is given twice"),
            ),
        ];
        for (name, more, expected) in cases {
            let error = settings(more).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn arguments_are_a_json_list() {
        let expected = AppArgs(vec!["--theme".to_owned(), "dark blue".to_owned()]);
        assert_eq!(r#"["--theme", "dark blue"]"#.parse(), Ok(expected));
        assert!("--theme".parse::<AppArgs>().is_err());
    }
}
