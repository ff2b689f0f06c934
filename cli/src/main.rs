//! `wavestore`: publishes apps in a Wavestore, from a terminal.

mod account;
mod admin;
mod aliases;
mod apps;
mod args;
mod audit;
mod browser;
mod bundles;
mod client;
mod cluster;
mod env;
mod error;
mod help;
mod instances;
mod pack;
mod print;
mod secrets;
mod settings;
mod sign_in;
mod tags;
mod trial;

use std::process::ExitCode;

use clap::Parser as _;

use args::{BundleCommand, Cli, Command, KubeArgs, Output};
use client::Client;
use cluster::Cluster;
use error::Error;
use settings::Settings;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system gives a runtime");
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::fail(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Error> {
    let output = cli.store.output;
    let file = settings::file();
    let client = || {
        let settings = Settings::find(cli.store.url.as_deref(), cli.store.token.clone(), &file)?;
        Client::new(settings)
    };
    if cli.kube.kube {
        return by_kubeconfig(&cli.kube, cli.command, output).await;
    }
    match cli.command {
        Command::Login(login) => sign_in::sign_in(login, &file, output).await,
        Command::Logout { url } => {
            let url = url.as_deref().or(cli.store.url.as_deref());
            sign_in::sign_out(url, &file).await
        }
        Command::Config(command) => sign_in::config(&command, &file, output),
        Command::Completion { shell } => help::completion(shell),
        Command::Man { folder } => help::manual(&folder),
        Command::Bundle(BundleCommand::Validate { app }) => bundles::validate(&app, output),
        Command::Bundle(BundleCommand::Pack { folder, file }) => {
            bundles::write(&folder, file, output)
        }
        Command::Bundle(BundleCommand::Deploy { app, visibility }) => {
            bundles::deploy(&client()?, &app, visibility, output).await
        }
        Command::Bundle(BundleCommand::Test(trial)) => trial::run(&client()?, &trial, output).await,
        Command::App(command) => apps::run(&client()?, command, output).await,
        Command::Alias(command) => aliases::run(&client()?, command, output).await,
        Command::Secret(command) => secrets::run(&client()?, command, output).await,
        Command::Tag(command) => tags::run(&client()?, command, output).await,
        Command::Audit(args) => audit::run(&client()?, args, output).await,
        Command::Env => env::run(&client()?, output).await,
        Command::Token(command) => account::tokens(&client()?, command, output).await,
        Command::Session(command) => account::sessions(&client()?, command, output).await,
        Command::Admin(command) => admin::run(&client()?, command, output).await,
        Command::Instance(command) => instances::run(&client()?, command, output).await,
    }
}

/// What needs no store.
async fn by_kubeconfig(kube: &KubeArgs, command: Command, output: Output) -> Result<(), Error> {
    match command {
        Command::App(command) => {
            cluster::run_apps(&Cluster::connect(kube).await?, command, output).await
        }
        Command::Instance(command) => {
            instances::run(&Cluster::connect(kube).await?, command, output).await
        }
        _ => Err(Error::NeedsStore),
    }
}
