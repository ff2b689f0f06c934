//! `app.toml`, typed.
//!
//! Keys are read as their first platform read them: an empty text is an absent one, and tables and
//! keys that nobody knows are warnings, so that bundles of other makers and times still run.

mod app;
mod inject;
mod runtime;
mod section;

use semver::Version;
use strum::{Display, EnumString};
use url::Url;

pub(crate) use runtime::{hides, is_module};
use section::Section;

use crate::problem::{Fault, Problem, printable};
use crate::{EnvRules, Error, InstanceTimeout, Quantity};

/// Where a bundle is unpacked in the pod.
pub const APP_ROOT: &str = "/app";

/// Where the app's Python environment lives in the pod.
pub const RESOURCES_ROOT: &str = "/resources";

/// Everything that `app.toml` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// `[App]`
    pub app: App,
    /// `[Runtime]`; `None` for `LINK` apps alone.
    pub runtime: Option<Runtime>,
    /// `[[Env]]`, with names that occur once.
    pub env: Vec<Env>,
    /// `[[File]]`, with paths that occur once.
    pub files: Vec<File>,
    /// `[Link]`; `Some` for `LINK` apps alone.
    pub link: Option<Link>,
}

/// What an app is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// `Name`: at most 63 letters, digits and `-_.`
    pub name: String,
    /// `Version`: a semantic version that is also such a label; with name and a dash at most 63 characters.
    pub version: Version,
    /// `Title`; the name when there is none.
    pub title: String,
    /// `Description`: one line.
    pub description: Option<String>,
    /// `LongDescription`: path of a Markdown file in the bundle.
    pub long_description: Option<String>,
    /// `Tags`
    pub tags: Vec<String>,
    /// `InstanceLifecycle`; default `ON_DEMAND`.
    pub lifecycle: Lifecycle,
    /// `InstanceTimeout`; the store's default when there is none.
    pub timeout: Option<InstanceTimeout>,
    /// Keys of older bundles.
    pub legacy: Legacy,
}

/// Keys of `[App]` that older bundles have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Legacy {
    /// `Category`
    pub category: Option<String>,
    /// `Keywords`
    pub keywords: Vec<String>,
    /// `SetupGuide`
    pub setup_guide: Option<String>,
}

/// Who runs an app.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Display, EnumString)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE", ascii_case_insensitive)]
pub enum Lifecycle {
    /// Everybody runs their own.
    #[default]
    OnDemand,
    /// The owner runs it, the others visit.
    Managed,
    /// Nothing runs: a card that opens an address.
    Link,
}

/// What a pod of the app needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// `Module`: dotted name of the Python module.
    pub module: String,
    /// `RuntimeVersion`: name of the platform's environment.
    pub runtime_version: Option<String>,
    /// `VolumeMount` and `VolumeSize`
    pub volume: Option<Volume>,
    /// `ResourceVolumeSize`: keeps the environment on a volume of that size.
    pub resource_volume_size: Option<Quantity>,
    /// `MemoryLimit`
    pub memory_limit: Option<Quantity>,
    /// `MemoryReservation`, not above the limit.
    pub memory_reservation: Option<Quantity>,
    /// `CPULimit`
    pub cpu_limit: Option<Quantity>,
    /// `CPUReservation`, not above the limit.
    pub cpu_reservation: Option<Quantity>,
    /// `GPUCount`; default 0.
    pub gpu_count: u32,
    /// `GPUType`
    pub gpu_type: Option<String>,
    /// `EnableOIDC`: the app wants to know its user.
    pub enable_oidc: bool,
    /// `EnableSHM`: the app wants shared memory.
    pub enable_shm: bool,
    /// `RoutingMode`; default `DOMAIN`.
    pub routing_mode: RoutingMode,
    /// `AppMode`; default `wave`.
    pub mode: AppMode,
    /// `Port` on which the app listens, 1024 or above; always there unless the mode is `wave`.
    pub port: Option<u16>,
    /// `CustomImage`; always there when the mode is `container`.
    pub custom_image: Option<String>,
    /// `AppArgs`
    pub args: Vec<String>,
    /// `AppEntryPoint`
    pub entry_point: Vec<String>,
}

/// A volume that outlives the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Absolute path in the pod.
    pub mount: String,
    /// Its size.
    pub size: Quantity,
}

/// How instances are reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Display, EnumString)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE", ascii_case_insensitive)]
pub enum RoutingMode {
    /// Each on a host of its own.
    #[default]
    Domain,
    /// All on one host, each below a path of its own.
    BaseUrl,
}

/// What kind of process the app is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Display, EnumString)]
#[strum(serialize_all = "lowercase", ascii_case_insensitive)]
pub enum AppMode {
    /// waved and a Wave app behind it.
    #[default]
    Wave,
    /// Any Python web server.
    Python,
    /// An image of the app's own.
    Container,
}

/// An environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Env {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub source: Source,
}

/// A file that is put into the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Absolute path in the pod; a relative one in `app.toml` is meant below [`APP_ROOT`].
    pub path: String,
    /// Where its content comes from.
    pub source: Source,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `Value`
    Value(String),
    /// `Secret`, `SecretKey` and `Optional`
    Secret(SecretKey),
}

/// One key of one secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretKey {
    /// The secret's name.
    pub secret: String,
    /// The key in it.
    pub key: String,
    /// Whether the app also starts without it.
    pub optional: bool,
}

/// Where a `LINK` app leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// An http or https address.
    pub address: Url,
}

impl Manifest {
    /// Reads `app.toml`. Returns it with the warnings of keys that are ignored.
    ///
    /// # Errors
    /// [`Error::Syntax`], or [`Error::Invalid`] with every wrong key.
    pub fn parse(text: &str, rules: &EnvRules) -> Result<(Self, Vec<String>), Error> {
        // Some editors on Windows put a byte order mark in front.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let root: toml::Table = toml::from_str(text).map_err(|error| syntax(text, &error))?;
        let mut findings = Findings::default();
        let manifest = read_root(root, rules, &mut findings);
        match manifest {
            Some(manifest) if findings.problems.is_empty() => Ok((manifest, findings.warnings)),
            _ => Err(Error::Invalid(findings.problems)),
        }
    }
}

/// What reading has found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<String>,
}

impl Findings {
    /// Most problems and most warnings of one file; more would help nobody, and fit into no status.
    const MOST: usize = 50;

    pub(crate) fn problem(&mut self, key: impl Into<String>, fault: Fault) {
        if self.problems.len() < Self::MOST {
            let key = key.into();
            self.problems.push(Problem { key, fault });
        }
    }

    /// As [`Findings::problem`], unless the key has one already: a key of the wrong type is not missing too.
    pub(crate) fn problem_once(&mut self, key: &str, fault: Fault) {
        if self.problems.iter().all(|problem| problem.key != key) {
            self.problem(key, fault);
        }
    }

    pub(crate) fn warn(&mut self, text: impl AsRef<str>) {
        if self.warnings.len() < Self::MOST {
            self.warnings
                .push(format!("app.toml: {}", printable(text.as_ref())));
        }
    }
}

/// Reads all tables, so that one run reports what is wrong in any of them. Whoever returns `None`
/// here has left a problem in `findings`.
fn read_root(root: toml::Table, rules: &EnvRules, findings: &mut Findings) -> Option<Manifest> {
    let mut root = Section::root(root);
    let (app, lifecycle) = match root.table_or_empty("App", findings) {
        Some(section) => app::read(section, findings),
        None => (None, Lifecycle::default()),
    };
    let is_link = lifecycle == Lifecycle::Link;
    let runtime = root
        .table_or_empty("Runtime", findings)
        .and_then(|section| runtime::read(section, is_link, findings));
    let env = inject::read_env(root.tables("Env", findings), rules, findings);
    let files = inject::read_files(root.tables("File", findings), findings);
    let link = read_link(root.table("Link", findings), is_link, findings);
    root.finish(findings);
    Some(Manifest {
        app: app?,
        runtime: runtime.filter(|_| !is_link),
        env,
        files,
        link,
    })
}

fn read_link(section: Option<Section>, is_link: bool, findings: &mut Findings) -> Option<Link> {
    let Some(mut section) = section else {
        if is_link {
            findings.problem(
                "[Link] Address",
                Fault::MissingFor {
                    needed_by: "a `LINK` app",
                },
            );
        }
        return None;
    };
    let address = section.text("Address", findings);
    section.finish(findings);
    if !is_link {
        findings.warn("table `Link` is ignored, since `InstanceLifecycle` is not `LINK`");
        return None;
    }
    let Some(value) = address else {
        findings.problem_once(
            "[Link] Address",
            Fault::MissingFor {
                needed_by: "a `LINK` app",
            },
        );
        return None;
    };
    match Url::parse(&value) {
        Ok(address) if matches!(address.scheme(), "http" | "https") && address.has_host() => {
            Some(Link { address })
        }
        _ => {
            findings.problem("[Link] Address", Fault::NotAddress { value });
            None
        }
    }
}

fn syntax(text: &str, error: &toml::de::Error) -> Error {
    let offset = error.span().map_or(0, |span| span.start.min(text.len()));
    let before = String::from_utf8_lossy(&text.as_bytes()[..offset]);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    Error::Syntax {
        line,
        column,
        message: printable(&error.message().trim().replace('\n', ", ")),
    }
}
