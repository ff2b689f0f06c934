//! `wavestore login`: takes a token, tries it, and keeps it.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::args::Output;
use crate::client::Client;
use crate::error::Error;
use crate::print::{note, print};
use crate::settings::{self, Settings};

/// How a personal token of a store begins. OIDC access tokens, which begin otherwise, do not live long enough to be kept.
const PREFIX: &str = "wst_";

/// Whose token it is.
#[derive(Serialize, Deserialize)]
struct Account {
    name: String,
    role: String,
}

/// Takes a token for the store at this address, and keeps it if the store does not refuse it.
pub(crate) async fn sign_in(url: &str, file: &Path, output: Output) -> Result<(), Error> {
    let url = settings::address(url)?;
    let token = read_token(&url).map_err(|_| Error::Token)?;
    if !token.starts_with(PREFIX) {
        return Err(Error::Token);
    }
    let settings = Settings { url, token };
    let account: Account = Client::new(settings.clone())?.get("account").await?;
    settings.write(file)?;
    print(output, &account, || {
        format!(
            "Signed in to {} as {} ({})",
            settings.url, account.name, account.role
        )
    });
    Ok(())
}

fn read_token(url: &url::Url) -> std::io::Result<String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        note(format_args!(
            "Make a token with the scope `store` at {}, and paste it here (it is not shown):",
            url.join("/account")
                .map_or_else(|_| url.to_string(), String::from)
        ));
        return rpassword::read_password().map(|token| token.trim().to_owned());
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
