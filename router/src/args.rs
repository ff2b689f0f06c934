//! The router's arguments.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bundle::Quantity;
use clap::{Parser, Subcommand, ValueEnum, value_parser};
use humantime::parse_duration;
use ipnet::IpNet;

use crate::limits::Limits;
use crate::offer::Offer;
use crate::oidc::OidcArgs;

/// Proxies and authorizes all traffic of a Wavestore, and serves its pages.
#[derive(Debug, Clone, Parser)]
#[command(name = "wavestore-router", version, about)]
pub struct Args {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Namespace that holds the store's apps and instances.
    #[arg(
        long,
        env = "WAVESTORE_NAMESPACE",
        default_value = "wavestore",
        global = true
    )]
    pub namespace: String,
    /// Database with accounts, sessions and apps: `sqlite:///data/catalog.db` or `postgres://...`.
    #[arg(
        long,
        env = "WAVESTORE_DATABASE_URL",
        default_value = "sqlite:///data/catalog.db",
        hide_env_values = true,
        global = true
    )]
    pub database_url: String,
    /// Where bundles and pictures are stored: a folder, or a bucket (`s3://bucket/prefix`, `az:` or `gs:`) with credentials from
    /// the environment.
    #[arg(
        long,
        env = "WAVESTORE_BLOBS",
        default_value = "file:///data/blobs",
        global = true
    )]
    pub blobs: String,
    /// Address of the store's pages as browsers see it. With http, cookies cannot be `Secure`.
    #[arg(
        long,
        env = "WAVESTORE_STORE_URL",
        default_value = "http://localhost:8080"
    )]
    pub store_url: String,
    /// Domain below which every instance has its host, with the port that browsers use.
    #[arg(long, env = "WAVESTORE_APPS_DOMAIN", default_value = "localhost:8080")]
    pub apps_domain: String,
    /// Address for browsers: pages and apps.
    #[arg(long, env = "WAVESTORE_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Address for the cluster: probes, and bundles for instances' pods.
    #[arg(
        long,
        env = "WAVESTORE_INTERNAL_LISTEN",
        default_value = "0.0.0.0:8081"
    )]
    pub internal_listen: SocketAddr,
    /// File with the certificate chain for `--listen`, in PEM. It is read again when it changes. Without it, `--listen` is
    /// plain, and TLS is a proxy's matter.
    #[arg(long, env = "WAVESTORE_TLS_CERTIFICATE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// File with the certificate's private key, in PEM.
    #[arg(long, env = "WAVESTORE_TLS_KEY", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// Networks of the proxies in front, such as an ingress: `10.1.0.0/16,fd00::/64`. What they say in X-Forwarded-For and
    /// X-Forwarded-Proto (or Forwarded) of where a request comes from is believed; nobody else's word is.
    #[arg(long, env = "WAVESTORE_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpNet>,
    /// Name of the account that is made when there is none.
    #[arg(long, env = "WAVESTORE_ADMIN_NAME", default_value = "admin")]
    pub admin_name: String,
    /// File with that account's password. Without it, no account is made.
    #[arg(long, env = "WAVESTORE_ADMIN_PASSWORD_FILE")]
    pub admin_password_file: Option<PathBuf>,
    /// How long somebody stays signed in, however much they do.
    #[arg(long, env = "WAVESTORE_SESSION_LIFETIME", default_value = "12h", value_parser = parse_duration)]
    pub session_lifetime: Duration,
    /// For how long the deletion of an instance on the store's pages can be undone; with `0s` it is deleted at once.
    #[arg(long, env = "WAVESTORE_INSTANCE_UNDO", default_value = "60s", value_parser = parse_duration)]
    pub instance_undo: Duration,
    /// How long the audit trail goes back.
    #[arg(long, env = "WAVESTORE_KEEP_AUDIT", default_value = "180d", value_parser = parse_duration)]
    pub keep_audit: Duration,
    /// Connections from browsers that may be open at once; more wait. As many WebSockets may be open beside them. By
    /// default as many as the limit of open files is enough for (four files for each), and at most 10,000.
    #[arg(long, env = "WAVESTORE_MAX_CONNECTIONS", value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: Option<u32>,
    /// Connections that one address may have open, and as many WebSockets; more are closed at once. Proxies of
    /// `--trusted-proxies` may have any number. By default half of `--max-connections`.
    #[arg(long, env = "WAVESTORE_MAX_CONNECTIONS_PER_ADDRESS", value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub max_connections_per_address: Option<u32>,
    /// Largest body of a request to an app, such as `500Mi`. A Wave app has a smaller limit of its own, 5M unless its
    /// `H2O_WAVE_MAX_REQUEST_SIZE` says otherwise.
    #[arg(long, env = "WAVESTORE_MAX_BODY_SIZE", default_value = "5Gi")]
    pub max_body_size: Quantity,
    /// Requests to the API that each account may send a minute to one replica, and five times as many each address; 0 for any number.
    /// More are answered with 429 and the time to wait.
    #[arg(long, env = "WAVESTORE_API_REQUESTS_PER_MINUTE", default_value = "600")]
    pub api_requests_per_minute: u32,
    /// How long connecting to an instance's pod may take.
    #[arg(long, env = "WAVESTORE_CONNECT_TIMEOUT", default_value = "5s", value_parser = parse_duration)]
    pub connect_timeout: Duration,
    /// How long an app may take to begin its answer, counted from the last byte of the request.
    #[arg(long, env = "WAVESTORE_RESPONSE_TIMEOUT", default_value = "300s", value_parser = parse_duration)]
    pub response_timeout: Duration,
    /// How long a WebSocket may be silent both ways. Wave's own pings come every 50 s.
    #[arg(long, env = "WAVESTORE_TUNNEL_IDLE_TIMEOUT", default_value = "10m", value_parser = parse_duration)]
    pub tunnel_idle_timeout: Duration,
    /// How long new requests are still taken after SIGTERM, while the cluster learns that this replica leaves.
    #[arg(long, env = "WAVESTORE_LEAVE_DELAY", default_value = "5s", value_parser = parse_duration)]
    pub leave_delay: Duration,
    /// How long open requests may go on after that; keep both together below the pod's grace period.
    #[arg(long, env = "WAVESTORE_DRAIN_TIMEOUT", default_value = "20s", value_parser = parse_duration)]
    pub drain_timeout: Duration,
    /// Write one JSON line a request to stdout: who, what, which status, how long. The log itself goes to stderr.
    #[arg(long, env = "WAVESTORE_ACCESS_LOG")]
    pub access_log: bool,
    /// What the store offers by name.
    #[command(flatten)]
    pub offer: Offer,
    /// What users and apps may have.
    #[command(flatten)]
    pub limits: Limits,
    /// Sign-in at an OIDC provider.
    #[command(flatten)]
    pub oidc: OidcArgs,
    /// Form of the log.
    #[arg(
        long,
        env = "WAVESTORE_LOG_FORMAT",
        default_value = "text",
        global = true
    )]
    pub log_format: LogFormat,
}

/// What to do instead of serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Brings the database's tables up to date and ends. Routers and operators wait for it; those that run go on meanwhile.
    Migrate,
    /// Looks after what is in the blob store.
    #[command(subcommand)]
    Blobs(BlobsCommand),
}

/// What to do with the blob store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum BlobsCommand {
    /// Removes bundles, pictures and environments that no app and no instance of the namespace names, and ends. Objects of other
    /// kinds are left alone and counted.
    Gc(GcArgs),
}

/// How garbage is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct GcArgs {
    /// Say what would be removed, and remove nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// How long an object is kept that nobody names: at least an hour, since what was stored a moment ago may be named in the next.
    #[arg(long, env = "WAVESTORE_BLOBS_GRACE", default_value = "24h", value_parser = parse_grace)]
    pub grace: Duration,
}

fn parse_grace(text: &str) -> Result<Duration, String> {
    let grace = parse_duration(text).map_err(|error| error.to_string())?;
    if grace < catalog::LEAST_GRACE {
        return Err(
            "an hour is the least: an import must have the time to name what it stores".to_owned(),
        );
    }
    Ok(grace)
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn migrations_need_the_database_alone() {
        let url = "postgres://wavestore@db/wavestore";
        let flag = format!("--database-url={url}");
        for given in [["migrate", &flag], [&flag, "migrate"]] {
            let args = Args::parse_from([&["wavestore-router"][..], &given].concat());
            assert_eq!(args.command, Some(Command::Migrate));
            assert_eq!(args.database_url, url);
        }
    }

    #[test]
    fn garbage_is_kept_for_a_day_and_never_for_less_than_an_hour() {
        let parse = |flags: &[&str]| {
            let command = ["wavestore-router", "blobs", "gc", "--blobs=s3://bucket"];
            let args = Args::try_parse_from([&command[..], flags].concat()).ok()?;
            assert_eq!(args.blobs, "s3://bucket");
            args.command
        };
        let gc = |dry_run, hours| {
            let grace = Duration::from_hours(hours);
            Some(Command::Blobs(BlobsCommand::Gc(GcArgs { dry_run, grace })))
        };
        assert_eq!(parse(&[]), gc(false, 24));
        assert_eq!(parse(&["--dry-run", "--grace=7d"]), gc(true, 168));
        assert_eq!(parse(&["--grace=1h"]), gc(false, 1));
        for grace in ["--grace=59m", "--grace=0s", "--grace=-1", "--grace=1"] {
            assert_eq!(parse(&[grace]), None, "{grace}");
        }
    }
}
