//! `wavestore login`, `logout` and `config`: which stores we are signed in to.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::Path;
use std::time::Duration;

use indicatif::ProgressBar;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::sleep;
use url::Url;

use crate::args::{ConfigCommand, Login, Output};
use crate::browser;
use crate::client::{Client, Stranger, done};
use crate::error::Error;
use crate::print::{note, print, table};
use crate::settings::{self, Kept, Settings};

/// How a personal token of a store begins. OIDC access tokens, which begin otherwise, do not live long enough to be kept.
const PREFIX: &str = "wst_";

/// The longest name of a device that a store takes, in characters.
const LONGEST_DEVICE: usize = 40;

/// Whose token it is.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    name: String,
    role: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    expires_at: String,
}

/// What the store lets this terminal show, and ask with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authorization {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: String,
    interval: u64,
}

#[derive(Deserialize)]
struct Made {
    token: String,
}

/// Gets or takes a token for a store, and keeps it if the store does not refuse it.
pub(crate) async fn sign_in(login: Login, file: &Path, output: Output) -> Result<(), Error> {
    let url = settings::address(&login.url)?;
    // Before somebody goes to the browser for it.
    let mut kept = Kept::read(file)?;
    let token = if login.with_token {
        read_token(&url).map_err(|_| Error::Token)?
    } else {
        tokio::select! {
            token = ask_for_token(&url, !login.no_browser) => token?,
            _ = tokio::signal::ctrl_c() => return Err(Error::Interrupted),
        }
    };
    if !token.starts_with(PREFIX) {
        return Err(Error::Token);
    }
    let settings = Settings {
        url: url.clone(),
        token,
    };
    let account: Account = Client::new(settings.clone())?.get("account").await?;
    kept.sign_in(settings);
    kept.write(file)?;
    print(output, &account, || {
        format!(
            "Signed in to {url} as {} ({}) until {}",
            account.name, account.role, account.expires_at
        )
    });
    Ok(())
}

/// Lets somebody say in a browser that this terminal is theirs (RFC 8628).
async fn ask_for_token(url: &Url, opens_browser: bool) -> Result<String, Error> {
    let store = Stranger::new(url.clone())?;
    let device = json!({ "device": device_name() });
    let told: Authorization = store.post("devices", &device).await?;
    note(format_args!(
        "Open {} in a browser, and let this terminal in if it shows the code\n\n    {}\n",
        told.verification_uri_complete, told.user_code
    ));
    // What a store says is opened only if it is the store's own.
    let is_own = Url::parse(&told.verification_uri).is_ok_and(|page| page.origin() == url.origin());
    if opens_browser && is_own {
        browser::open(&told.verification_uri_complete);
    }
    let progress = ProgressBar::new_spinner().with_message("Waiting to be let in");
    progress.enable_steady_tick(Duration::from_millis(100));
    let asked = json!({ "deviceCode": told.device_code });
    loop {
        sleep(Duration::from_secs(told.interval.clamp(1, 60))).await;
        match store.post::<Made>("devices/token", &asked).await {
            Ok(made) => return Ok(made.token),
            Err(Error::Refused { code, .. }) if code.as_deref() == Some("AuthorizationPending") => {
            }
            Err(Error::Refused { code, .. }) if code.as_deref() == Some("DeviceCodeExpired") => {
                return Err(Error::NotLetIn);
            }
            // Of a store that is updated just now, for example.
            Err(Error::Refused { status, .. }) if status.is_server_error() => {}
            Err(Error::Reach(error)) if error.is_connect() || error.is_timeout() => {}
            Err(error) => return Err(error),
        }
    }
}

/// What whoever lets this terminal in knows it by.
fn device_name() -> String {
    let host = hostname::get().unwrap_or_default();
    let host = host.to_string_lossy();
    let host: String = host.chars().filter(char::is_ascii_graphic).collect();
    let name = match host.as_str() {
        "" => "wavestore".to_owned(),
        host => format!("wavestore on {host}"),
    };
    name.chars().take(LONGEST_DEVICE).collect()
}

fn read_token(url: &Url) -> std::io::Result<String> {
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

/// Revokes the token of a store, and forgets it.
pub(crate) async fn sign_out(url: Option<&str>, file: &Path) -> Result<(), Error> {
    let mut kept = Kept::read(file)?;
    let url = kept.store(url)?;
    let token = kept.forget(&url).ok_or(Error::NotSignedIn)?;
    let settings = Settings {
        url: url.clone(),
        token,
    };
    let revoked = revoke(&Client::new(settings)?).await;
    // Whatever the store says: nobody wants it here any more.
    kept.write(file)?;
    match revoked {
        Ok(()) => note(format_args!("Signed out of {url}")),
        Err(error) => note(format_args!(
            "Forgot the token for {url}. It was not revoked: {error}"
        )),
    }
    Ok(())
}

async fn revoke(client: &Client) -> Result<(), Error> {
    let account: Account = client.get("account").await?;
    if let Some(id) = account.token_id {
        let path = format!("tokens/{id}");
        done(client.request(Method::DELETE, &path).send().await?).await?;
    }
    Ok(())
}

/// A store that we are signed in to.
#[derive(Serialize)]
struct Row<'a> {
    url: &'a Url,
    current: bool,
}

/// Tells which stores there are, and which one is meant.
pub(crate) fn config(command: &ConfigCommand, file: &Path, output: Output) -> Result<(), Error> {
    let mut kept = Kept::read(file)?;
    match command {
        ConfigCommand::List => {
            let is_current = |url| kept.current.as_ref() == Some(url);
            let rows: Vec<Row<'_>> = kept
                .tokens
                .keys()
                .map(|url| Row {
                    url,
                    current: is_current(url),
                })
                .collect();
            print(output, &rows, || {
                let rows = rows.iter();
                let cells = rows.map(|row| [if row.current { "*" } else { "" }, row.url.as_str()]);
                table(["CURRENT", "STORE"], cells)
            });
        }
        ConfigCommand::Use { url } => {
            let url = kept.store(Some(url))?;
            note(format_args!("{url} is meant from now on"));
            kept.current = Some(url);
            kept.write(file)?;
        }
        ConfigCommand::Path => print(output, &file, || file.display().to_string()),
    }
    Ok(())
}
