//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Publishes H2O Wave apps in a Wavestore, and runs them.
#[derive(Debug, Parser)]
#[command(name = "wavestore", version, about, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) kube: KubeArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which store; `wavestore login` remembers it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Store")]
pub(crate) struct StoreArgs {
    /// Address of the store, such as <https://store.example.com>.
    #[arg(long, global = true, env = "WAVESTORE_URL")]
    pub(crate) url: Option<String>,
    /// A token with the scope `store`. There is no argument for it: arguments are seen by everybody on a machine.
    #[arg(skip = std::env::var("WAVESTORE_TOKEN").ok())]
    pub(crate) token: Option<String>,
    /// How to print what was asked for.
    #[arg(long, short, global = true, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// The Kubernetes API in place of a store, for those who have a kubeconfig and no account.
#[derive(Debug, Args)]
#[command(next_help_heading = "Kubernetes")]
pub(crate) struct KubeArgs {
    /// Ask the Kubernetes API instead of a store: `app` (list, get, update, delete) and `instance` work without an account, as far as
    /// the kubeconfig allows.
    #[arg(long, global = true, env = "WAVESTORE_KUBE")]
    pub(crate) kube: bool,
    /// The kubeconfig. Default: as for kubectl.
    #[arg(long, global = true, requires = "kube")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context in it. Default: the current one.
    #[arg(long, global = true, requires = "kube")]
    pub(crate) context: Option<String>,
    /// The store's namespace. Default: the context's.
    #[arg(long, short, global = true, requires = "kube")]
    pub(crate) namespace: Option<String>,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For programs, and for people who read more than a line.
    Yaml,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sign in to a store with a browser, on this machine or any other, and remember it.
    Login(Login),
    /// Revoke the token for a store, and forget it.
    Logout {
        /// Address of the store. Default: the current one.
        url: Option<String>,
    },
    /// See the stores that you are signed in to, and choose which one is meant.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make bundles of an app's folder, and publish them.
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// Find apps, and look after those that you have published.
    #[command(subcommand)]
    App(AppCommand),
    /// Run apps, and look after what runs.
    #[command(subcommand)]
    Instance(InstanceCommand),
    /// Give instances other names.
    #[command(subcommand)]
    Alias(AliasCommand),
    /// Say what tags are, and what roles see by them.
    #[command(subcommand)]
    Tag(TagCommand),
    /// Read what people have done through the store, the latest first, as an admin.
    Audit(AuditArgs),
    /// See what the store offers to apps and instances by name: runtime versions and sizes.
    Env,
    /// See and revoke your tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// See the browsers in which you are signed in, and sign out there.
    #[command(subcommand)]
    Session(SessionCommand),
    /// Look after everybody's accounts, as an admin.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Set secrets that apps read. What is set is never shown again.
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Print what lets a shell complete this command, such as `source <(wavestore completion bash)`.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual's pages, one for each command.
    Man {
        /// Folder for them, such as `~/.local/share/man/man1`. It is made if it is not there.
        folder: PathBuf,
    },
}

/// Which store, and how to prove who one is.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wavestore login https://store.example.com
  wavestore login https://store.example.com --with-token <token.txt")]
pub(crate) struct Login {
    /// Address of the store, such as <https://store.example.com>.
    pub(crate) url: String,
    /// Take a token with the scope `store` from the terminal or from standard input, and open no browser.
    #[arg(long)]
    pub(crate) with_token: bool,
    /// Show the address for the browser, and do not open it.
    #[arg(long)]
    pub(crate) no_browser: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// List the stores that you are signed in to.
    List,
    /// Mean this store when none is named.
    Use {
        /// Its address.
        url: String,
    },
    /// Print where this is kept.
    Path,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// List your tokens. New ones are made by `wavestore login` and on the store's page /account.
    List,
    /// Revoke a token: what uses it is refused from now on.
    Revoke {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// List the browsers in which you are signed in.
    List,
    /// Sign out in one of them, or in all.
    #[command(group = clap::ArgGroup::new("which").required(true))]
    End {
        /// Its id, as `wavestore session list` shows it.
        #[arg(group = "which")]
        id: Option<String>,
        /// In all browsers.
        #[arg(long, group = "which")]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Make accounts, give them roles and passwords, and keep them from signing in.
    #[command(subcommand)]
    Account(AccountCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// List all accounts.
    List,
    /// Show one account.
    Get {
        /// Its name.
        name: String,
    },
    /// Make an account, and print its one-time password.
    Create {
        /// Its name.
        name: String,
        /// What it may do.
        #[arg(long, value_enum)]
        role: Role,
    },
    /// Print a one-time password for an account in place of its own, and end its sessions and tokens.
    ResetPassword {
        /// Its name.
        name: String,
    },
    /// Give an account another role.
    SetRole {
        /// Its name.
        name: String,
        /// What it may do.
        #[arg(value_enum)]
        role: Role,
    },
    /// Keep an account from signing in, and end its sessions; its tokens rest. What it owns stays.
    Disable {
        /// Its name.
        name: String,
    },
    /// Let an account sign in again.
    Enable {
        /// Its name.
        name: String,
    },
}

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Role {
    /// Runs apps for visitors; publishes nothing.
    Visitor,
    /// Publishes and runs apps.
    Full,
    /// Manages everything.
    Admin,
}

/// Which deeds.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Only what this account has done.
    #[arg(long)]
    pub(crate) account: Option<String>,
    /// Only what was done to things of this kind.
    #[arg(long, value_enum)]
    pub(crate) thing: Option<Thing>,
    /// Only what was done to the things of this name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// How many at most.
    #[arg(long, default_value = "100", value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(crate) limit: u16,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AliasCommand {
    /// List the aliases of the instances that you manage; as an admin, all.
    List,
    /// Let an alias lead to an instance, as an admin.
    Set {
        /// The alias.
        name: String,
        /// The instance.
        instance: String,
        /// Send visits by the instance's other names to this one.
        #[arg(long)]
        primary: bool,
    },
    /// Delete an alias, as an admin.
    Delete {
        /// The alias.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TagCommand {
    /// List the tags that the store knows more of than their names.
    List,
    /// Show one tag.
    Get {
        /// Its name: the word that apps carry.
        name: String,
    },
    /// Make a tag, or change what is named of one, as an admin.
    Set {
        /// Its name: the word that apps carry.
        name: String,
        #[command(flatten)]
        change: TagChange,
    },
    /// Forget what a tag is, as an admin; apps keep the word.
    Delete {
        /// Its name.
        name: String,
    },
}

/// What a tag is to be; what is not named stays.
#[derive(Debug, Args)]
pub(crate) struct TagChange {
    /// What people read in place of its name.
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// What is shown beside that: `#` and six hexadecimal digits.
    #[arg(long)]
    pub(crate) color: Option<String>,
    /// What it means.
    #[arg(long)]
    pub(crate) description: Option<String>,
    /// A role that sees and manages the apps that have it, and alone puts it on apps; for several, say it again. One that is
    /// empty stands for none.
    #[arg(long = "admin-role")]
    pub(crate) admin_roles: Option<Vec<String>>,
    /// A role whose visitors see and run the apps that have it; for several, say it again. One that is empty stands for none.
    #[arg(long = "visitor-role")]
    pub(crate) visitor_roles: Option<Vec<String>>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// List your secrets and those for all apps: which apps read them, and what their keys are called.
    List,
    /// Show one secret, without its values.
    Get {
        /// Its name, as app.toml says it (`Secret`).
        name: String,
    },
    /// Make a secret, or replace all keys of one.
    ///
    /// Values come from files or from standard input, never from arguments, which everybody on a machine sees.
    ///
    /// Apps name it in app.toml:
    ///
    ///     [[Env]]
    ///     Name = "PASSWORD"
    ///     Secret = "database"
    ///     SecretKey = "password"
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:
  printf %s \"$PASSWORD\" | wavestore secret set database --from-stdin password
  wavestore secret set database --from-env-file database.env --scope app=sales
  wavestore secret set tls --from-file ca.crt=ca.pem --from-file tls.crt --scope all")]
    Set {
        /// Its name, as app.toml says it (`Secret`): a-z, 0-9 and -. between them.
        name: String,
        #[command(flatten)]
        values: SecretValues,
        /// Which apps read it: `private` (all of its owner's), `app=NAME` (the versions of that app which its owner owns), or `all`
        /// (every app of the store, as an admin). Default: what it was, and of a new one `private`.
        #[arg(long, value_parser = secret_scope)]
        scope: Option<SecretScope>,
        /// Whose it is, as an admin. Default: whose it was, or you.
        #[arg(long)]
        owner: Option<String>,
    },
    /// Delete a secret that no app reads.
    Delete {
        /// Its name.
        name: String,
    },
}

/// Where the values of a secret come from.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct SecretValues {
    /// A key with the content of a file as its value, as `KEY=PATH`, or `PATH` for a key that is called like the file; for several,
    /// say it again.
    #[arg(long = "from-file", value_name = "KEY=PATH", value_parser = file_of_key)]
    pub(crate) files: Vec<(String, PathBuf)>,
    /// A key with all of standard input as its value, as it is: `printf %s` adds no line end, `echo` does.
    #[arg(long = "from-stdin", value_name = "KEY")]
    pub(crate) stdin: Option<String>,
    /// The keys of a file with lines `KEY=VALUE`. Values are taken as they are, quotes included; lines that are empty or begin with
    /// `#` are left out.
    #[arg(long = "from-env-file", value_name = "FILE")]
    pub(crate) env_files: Vec<PathBuf>,
}

/// Which apps read a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretScope {
    /// All of its owner's.
    Private,
    /// The versions of one app that its owner owns.
    App(String),
    /// Every app of the store.
    All,
}

fn secret_scope(text: &str) -> Result<SecretScope, String> {
    match (text, text.strip_prefix("app=")) {
        ("private", _) => Ok(SecretScope::Private),
        ("all", _) => Ok(SecretScope::All),
        (_, Some(app)) if !app.is_empty() => Ok(SecretScope::App(app.to_owned())),
        _ => Err("it is `private`, `app=NAME` or `all`".to_owned()),
    }
}

fn file_of_key(text: &str) -> Result<(String, PathBuf), String> {
    if let Some((key, path)) = text.split_once('=') {
        return Ok((key.to_owned(), PathBuf::from(path)));
    }
    let path = PathBuf::from(text);
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or("it is no file: write KEY=PATH")?;
    Ok((name.to_owned(), path))
}

fn undo_time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time > Duration::from_hours(365 * 24) {
        return Err("a year is the longest".to_owned());
    }
    Ok(time)
}

#[derive(Debug, Subcommand)]
pub(crate) enum InstanceCommand {
    /// List the instances that you manage.
    List,
    /// Show one instance.
    Get {
        /// Its name.
        name: String,
    },
    /// Run an app.
    Run {
        /// The app, as `NAME` with `--app-version`, or as `NAME:VERSION`.
        app: String,
        /// Its version, if it does not stand behind the name.
        #[arg(long)]
        app_version: Option<String>,
        /// Name of the instance; the store makes one of the app's when there is none.
        #[arg(long)]
        name: Option<String>,
        /// Who may enter.
        #[arg(long, value_enum, default_value_t)]
        visibility: Visibility,
        /// Size of its pod, one of the store's; without one, what the app asks for.
        #[arg(long)]
        size: Option<String>,
        /// Whose it is, with --kube: a user name of the store.
        #[arg(long)]
        owner: Option<String>,
        /// Come back at once, and do not wait until the app is ready.
        #[arg(long)]
        no_wait: bool,
    },
    /// Tell how far an instance is, until it is ready, at rest, or fails.
    Status {
        /// Its name.
        name: String,
        /// Tell it once, and do not wait.
        #[arg(long)]
        no_wait: bool,
    },
    /// Print what the app in an instance has written.
    Logs {
        /// Its name.
        name: String,
        /// Go on with what it writes from now on.
        #[arg(long, short)]
        follow: bool,
        /// The log of the container before, which has ended.
        #[arg(long, short)]
        previous: bool,
        /// How many of the last lines.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=100_000))]
        tail: u32,
    },
    /// Print the address of an instance, and open it in a browser.
    Open {
        /// Its name.
        name: String,
        /// Only print it.
        #[arg(long)]
        no_browser: bool,
    },
    /// End an instance's pod, and keep its volumes.
    Suspend {
        /// Its name.
        name: String,
    },
    /// Let a suspended instance run again.
    Resume {
        /// Its name.
        name: String,
    },
    /// Run another version of the app in an instance.
    Upgrade {
        /// Its name.
        name: String,
        /// The app's version.
        app_version: String,
    },
    /// Give an instance another size, or, without one, what its app asks for.
    Resize {
        /// Its name.
        name: String,
        /// One of the store's sizes.
        size: Option<String>,
    },
    /// Change who may enter an instance.
    Share {
        /// Its name.
        name: String,
        /// Who may enter.
        #[arg(value_enum)]
        visibility: Visibility,
    },
    /// Delete an instance with its volumes.
    Delete {
        /// Its name.
        name: String,
        /// Delete it only after this time, such as `5m`, by the clock of this machine: until then it goes on, and `wavestore instance
        /// keep` keeps it.
        #[arg(long, value_name = "TIME", value_parser = undo_time)]
        undo_within: Option<Duration>,
    },
    /// Undo the deletion of an instance whose time has not come yet.
    Keep {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AppCommand {
    /// List the apps that you see, the newest first.
    List {
        /// Words that an app has to have in its name, title, description or tags.
        words: Vec<String>,
        /// Only those of this account.
        #[arg(long)]
        owner: Option<String>,
        /// Only those that are run in this way.
        #[arg(long, value_enum)]
        lifecycle: Option<Lifecycle>,
        /// Only those that have this tag.
        #[arg(long)]
        tag: Option<String>,
    },
    /// Show one version of an app, or all versions.
    Get {
        /// `NAME:VERSION` for one, `NAME` for all, or the name of a `WaveApp`.
        app: String,
    },
    /// Save the bundle of an app that you manage.
    Download {
        /// `NAME:VERSION`, or the name of a `WaveApp`.
        app: String,
        /// The bundle's file. Default: `<Name>.<Version>.wave` in the current folder.
        #[arg(long, short = 'f')]
        file: Option<PathBuf>,
    },
    /// Change who sees an app, its tags, or, as an admin, who owns it.
    Update {
        /// `NAME:VERSION`, or the name of a `WaveApp`.
        app: String,
        #[command(flatten)]
        change: AppChange,
    },
    /// Like an app; everybody sees how many do.
    Like {
        /// The app's name, which stands for all its versions.
        name: String,
    },
    /// Take a like back.
    Unlike {
        /// The app's name.
        name: String,
    },
    /// Have an app come first on your first page.
    Pin {
        /// The app's name, which stands for all its versions.
        name: String,
    },
    /// Take a pin back.
    Unpin {
        /// The app's name.
        name: String,
    },
    /// Delete a version of an app that has no instances.
    Delete {
        /// `NAME:VERSION`, or the name of a `WaveApp`.
        app: String,
    },
}

/// What is to become of an app.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct AppChange {
    /// Who sees it.
    #[arg(long, value_enum)]
    pub(crate) visibility: Option<Visibility>,
    /// The account that owns it from now on.
    #[arg(long)]
    pub(crate) owner: Option<String>,
    /// A tag that it has from now on, beside those of its app.toml; for several, say it again. One that is empty stands for none.
    #[arg(long = "tag")]
    pub(crate) tags: Option<Vec<String>>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BundleCommand {
    /// Say whether the store would take an app, and what it would ignore.
    Validate {
        /// The folder that holds app.toml, or a bundle.
        #[arg(default_value = ".")]
        app: PathBuf,
    },
    /// Write an app's folder into a bundle, without what `.appignore` leaves out.
    Pack {
        /// The folder that holds app.toml.
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// The bundle's file. Default: `<Name>.<Version>.wave` in the current folder.
        #[arg(long, short = 'f')]
        file: Option<PathBuf>,
    },
    /// Publish an app: pack it, check it, upload it, and wait until the store has imported it.
    Deploy {
        /// The folder that holds app.toml, or a bundle.
        #[arg(default_value = ".")]
        app: PathBuf,
        /// Who sees the app.
        #[arg(long, value_enum, default_value_t)]
        visibility: Visibility,
    },
    /// Try an app in a pod of the store: publish it for yourself, run it, wait until it is ready, and take both away again.
    ///
    /// It gets a version of its own, such as 1.0.0-test.1795828500, so the same app can be tried again and again. It fails with the
    /// last lines of the app's log when the app does not come up.
    Test(Trial),
}

/// An app that is tried.
#[derive(Debug, Args)]
pub(crate) struct Trial {
    /// The folder that holds app.toml.
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
    /// Size of its pod, one of the store's; without one, what the app asks for.
    #[arg(long)]
    pub(crate) size: Option<String>,
    /// Print its log when it is ready, and let it run until Ctrl-C.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Take nothing away at the end: neither the instance nor the app.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// What people do something to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Thing {
    /// A version of an app, by the name of its `WaveApp`.
    App,
    /// An instance.
    Instance,
    /// Another name of an instance.
    Alias,
    /// A tag.
    Tag,
    /// A secret of apps.
    Secret,
    /// An account, with its sessions and tokens.
    Account,
}

/// How an app is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, strum::IntoStaticStr)]
pub(crate) enum Lifecycle {
    /// Everybody runs their own.
    OnDemand,
    /// The owner runs it, the others visit.
    Managed,
    /// Nothing runs: it is an address.
    Link,
}

/// Who sees an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, strum::IntoStaticStr)]
pub(crate) enum Visibility {
    /// Its owner alone.
    #[default]
    Private,
    /// Everybody who is signed in.
    AllUsers,
    /// Anyone.
    Public,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_said_in_a_word() {
        let cases = [
            ("private", Some(SecretScope::Private)),
            ("all", Some(SecretScope::All)),
            ("app=sales", Some(SecretScope::App("sales".to_owned()))),
            ("app=", None),
            ("app", None),
            ("Private", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(secret_scope(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_file_is_called_by_its_key_or_its_name() {
        let cases = [
            ("ca.crt=/tmp/x=y.pem", Some(("ca.crt", "/tmp/x=y.pem"))),
            ("/tmp/tls.key", Some(("tls.key", "/tmp/tls.key"))),
            ("tls.key", Some(("tls.key", "tls.key"))),
            ("..", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(key, path)| (key.to_owned(), PathBuf::from(path)));
            assert_eq!(file_of_key(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn no_value_is_an_argument() {
        let refused = Cli::try_parse_from(["wavestore", "secret", "set", "database"]);
        assert!(refused.is_err(), "a secret without values is taken");
        let refused =
            Cli::try_parse_from(["wavestore", "secret", "set", "database", "password=hunter2"]);
        assert!(refused.is_err(), "a value is taken");
    }
}
