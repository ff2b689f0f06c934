//! Flags and variables. Nothing below reads the environment by itself.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::digest::Digest;
use crate::environment::EnvironmentKey;
use crate::files::AppFiles;
use crate::settings::{AppArgs, BaseUrl, Mode};
use crate::store_url::StoreUrl;

/// What the launcher is to do.
#[derive(Debug)]
pub enum Task {
    /// To run an app.
    Run(Box<Args>),
    /// To build an environment: `wavestore-launcher build`.
    Build(Box<BuildArgs>),
}

impl Task {
    /// Reads the command line. Ends the process when it makes no sense.
    #[must_use]
    pub fn parse() -> Self {
        let mut words: Vec<OsString> = env::args_os().collect();
        if words.get(1).is_some_and(|word| word == BUILD) {
            words.remove(1);
            Self::Build(Box::new(BuildArgs::parse_from(words)))
        } else {
            Self::Run(Box::new(Args::parse_from(words)))
        }
    }
}

/// The first word of the command line that asks for an environment.
const BUILD: &str = "build";

/// PID 1 of an instance's pod: fetches, installs, starts and watches one app. `wavestore-launcher build --help` tells how
/// it builds an environment instead.
#[derive(Debug, clap::Parser)]
#[command(name = "wavestore-launcher", version)]
pub struct Args {
    #[command(flatten)]
    pub(crate) site: SiteArgs,

    /// Key of the environment that was built for the app at import. Without it uv installs what the app requires.
    #[arg(
        long,
        env = "WAVESTORE_ENVIRONMENT_KEY",
        requires = "environment_digest"
    )]
    pub(crate) environment_key: Option<EnvironmentKey>,

    /// Digest that this environment must have, `sha256:` and 64 hexadecimal digits.
    #[arg(
        long,
        env = "WAVESTORE_ENVIRONMENT_DIGEST",
        requires = "environment_key"
    )]
    pub(crate) environment_digest: Option<Digest>,

    /// Name of the instance.
    #[arg(long, env = "WAVESTORE_INSTANCE")]
    pub(crate) instance: String,

    /// What to start: the Wave server and a Wave app, or any Python web server.
    #[arg(long, env = "WAVESTORE_APP_MODE", default_value = "Wave")]
    pub(crate) app_mode: Mode,

    /// `[Runtime] Module` of app.toml, such as `app` or `src.run`.
    #[arg(long, env = "WAVESTORE_APP_MODULE")]
    pub(crate) app_module: String,

    /// Arguments of a Python app, as a JSON list of strings.
    #[arg(long = "app-args", env = "WAVESTORE_APP_ARGS", default_value = "[]")]
    pub(crate) arguments: AppArgs,

    /// Files from outside the bundle, as a JSON object: places in the app's folder, and where the files are mounted.
    #[arg(long, env = "WAVESTORE_APP_FILES", default_value = "{}")]
    pub(crate) app_files: AppFiles,

    /// Port on which a Python app listens by itself.
    #[arg(long, env = "WAVESTORE_APP_PORT", value_parser = clap::value_parser!(u16).range(1024..))]
    pub(crate) app_port: Option<u16>,

    /// Path below which the app is reached, such as `/instance/sales/`.
    #[arg(long, env = "H2O_WAVE_BASE_URL", default_value = "/")]
    pub(crate) base_url: BaseUrl,

    /// Port on which the app is reached. At first the launcher shows its phase there.
    #[arg(long, env = "WAVESTORE_LISTEN_PORT", default_value_t = 10101, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,

    /// Port of `/livez`, `/readyz` and `/phase`.
    #[arg(long, env = "WAVESTORE_HEALTH_PORT", default_value_t = 10102, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) health_port: u16,

    /// Port, on the loopback interface only, on which a Wave app is reached by the Wave server.
    #[arg(long, env = "WAVESTORE_INTERNAL_PORT", default_value_t = 10103, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) internal_port: u16,

    /// How long the app and the Wave server together may take to stop before they are killed.
    #[arg(long, env = "WAVESTORE_GRACE", default_value = "20s", value_parser = humantime::parse_duration)]
    pub(crate) grace: Duration,

    /// How long an app may take to be ready before visitors are told what it lacks. It is never ended for that.
    #[arg(long, env = "WAVESTORE_SLOW_START", default_value = "1m", value_parser = humantime::parse_duration)]
    pub(crate) slow_start: Duration,

    /// How long an app that was ready may be silent, though its process lives, before it is started again.
    #[arg(long, env = "WAVESTORE_SILENCE", default_value = "1m", value_parser = humantime::parse_duration)]
    pub(crate) silence: Duration,

    /// How often in a row the app may fail to start, before it ever was ready, until the launcher gives up.
    #[arg(long, env = "WAVESTORE_START_ATTEMPTS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) start_attempts: u32,

    /// How long to wait before an app is started again that has ended. It doubles with every failure in a row.
    #[arg(long, env = "WAVESTORE_RESTART_DELAY", default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) restart_delay: Duration,

    /// The longest of these waits.
    #[arg(long, env = "WAVESTORE_LONGEST_RESTART_DELAY", default_value = "1m", value_parser = humantime::parse_duration)]
    pub(crate) longest_restart_delay: Duration,
}

/// Makes the environment of an app once, and stores it for all its instances.
#[derive(Debug, clap::Parser)]
#[command(name = "wavestore-launcher build", version)]
pub struct BuildArgs {
    #[command(flatten)]
    pub(crate) site: SiteArgs,

    /// Key under which the environment is stored.
    #[arg(long, env = "WAVESTORE_ENVIRONMENT_KEY")]
    pub(crate) environment_key: EnvironmentKey,
}

/// What every task needs: where the bundle comes from, folders, programs.
#[derive(Debug, clap::Args)]
pub(crate) struct SiteArgs {
    /// Digest of the app's bundle, `sha256:` and 64 hexadecimal digits.
    #[arg(long, env = "WAVESTORE_BUNDLE_DIGEST")]
    pub(crate) bundle_digest: Digest,

    /// The store's internal address, from which the bundle is fetched. Plain HTTP: it never leaves the cluster.
    #[arg(long, env = "WAVESTORE_STORE_URL")]
    pub(crate) store_url: StoreUrl,

    /// File that holds the token by which the store knows this pod. It is read again for every try.
    #[arg(
        long,
        env = "WAVESTORE_TOKEN_FILE",
        default_value = "/var/run/secrets/wavestore/token"
    )]
    pub(crate) token_file: PathBuf,

    /// Folder that the bundle is unpacked into.
    #[arg(long, env = "WAVESTORE_APP_DIR", default_value = "/app")]
    pub(crate) app_dir: PathBuf,

    /// Folder of the virtual environment (`venv`) and of uv's cache.
    #[arg(long, env = "WAVESTORE_RESOURCES_DIR", default_value = "/resources")]
    pub(crate) resources_dir: PathBuf,

    /// Folder that the bundle is downloaded to.
    #[arg(long, env = "WAVESTORE_SCRATCH_DIR", default_value = "/tmp")]
    pub(crate) scratch_dir: PathBuf,

    /// The uv program.
    #[arg(long, env = "WAVESTORE_UV", default_value = "uv")]
    pub(crate) uv: PathBuf,

    /// The Python interpreter that the virtual environment is made from.
    #[arg(long, env = "WAVESTORE_PYTHON", default_value = "python3")]
    pub(crate) python: PathBuf,

    /// Certificate authorities of the site, if there are any: trusted beside the usual ones by all that names this
    /// file in a variable such as `SSL_CERT_FILE`.
    #[arg(
        long,
        env = "WAVESTORE_CA_FILE",
        default_value = "/etc/wavestore/ca/ca.crt"
    )]
    pub(crate) ca_file: PathBuf,

    /// File that Kubernetes shows as the container's termination message.
    #[arg(
        long,
        env = "WAVESTORE_TERMINATION_LOG",
        default_value = "/dev/termination-log"
    )]
    pub(crate) termination_log: PathBuf,

    /// Folder in which the kernel tells of the container's memory.
    #[arg(long, env = "WAVESTORE_CGROUP_DIR", default_value = "/sys/fs/cgroup")]
    pub(crate) cgroup_dir: PathBuf,

    /// How long to try to fetch the bundle.
    #[arg(long, env = "WAVESTORE_FETCH_DEADLINE", default_value = "2m", value_parser = humantime::parse_duration)]
    pub(crate) fetch_deadline: Duration,

    /// Least level of the launcher's own log lines, or a filter such as `info,launcher::family=debug`.
    #[arg(long, env = "WAVESTORE_LOG", default_value = "info")]
    pub(crate) log: EnvFilter,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::{Args, BuildArgs};

    #[test]
    fn the_flags_are_consistent() {
        Args::command().debug_assert();
        BuildArgs::command().debug_assert();
    }
}
