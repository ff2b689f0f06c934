//! One's own tokens and sessions.

use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::args::{Output, SessionCommand, TokenCommand};
use crate::client::{Client, done};
use crate::error::Error;
use crate::print::{note, print, table};

/// A token as the API tells it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    id: String,
    name: String,
    scopes: Vec<String>,
    created_at: String,
    expires_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
}

/// A session as the API tells it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    browser: Option<String>,
    created_at: String,
    last_seen_at: String,
    expires_at: String,
}

pub(crate) async fn tokens(
    client: &Client,
    command: TokenCommand,
    output: Output,
) -> Result<(), Error> {
    let all: Vec<Token> = client.list("tokens", &[]).await?;
    match command {
        TokenCommand::List => {
            let scopes: Vec<String> = all.iter().map(|token| token.scopes.join(", ")).collect();
            print(output, &all, || {
                let rows = all.iter().zip(&scopes).map(|(token, scopes)| {
                    let used = token.last_used_at.as_deref().unwrap_or("never");
                    [token.name.as_str(), scopes, used, &token.expires_at]
                });
                table(["NAME", "SCOPES", "LAST USED", "EXPIRES"], rows)
            });
        }
        TokenCommand::Revoke { name } => {
            let token = all.iter().find(|token| token.name == name);
            let id = &token.ok_or_else(|| Error::NoToken(name.clone()))?.id;
            let path = format!("tokens/{id}");
            done(client.request(Method::DELETE, &path).send().await?).await?;
            note(format_args!("Revoked the token {name}"));
        }
    }
    Ok(())
}

pub(crate) async fn sessions(
    client: &Client,
    command: SessionCommand,
    output: Output,
) -> Result<(), Error> {
    match command {
        SessionCommand::List => {
            let all: Vec<Session> = client.list("sessions", &[]).await?;
            print(output, &all, || {
                let rows = all.iter().map(|session| {
                    [
                        session.id.as_str(),
                        &session.created_at,
                        &session.last_seen_at,
                        session.browser.as_deref().unwrap_or("-"),
                    ]
                });
                table(["ID", "BEGAN", "LAST SEEN", "BROWSER"], rows)
            });
        }
        SessionCommand::End { id: Some(id), .. } => {
            let path = format!("sessions/{id}");
            done(client.request(Method::DELETE, &path).send().await?).await?;
            note("Signed out there");
        }
        // Without an id, the command line has `--all`.
        SessionCommand::End { id: None, .. } => {
            let path = "sessions";
            done(client.request(Method::DELETE, path).send().await?).await?;
            note("Signed out in all browsers");
        }
    }
    Ok(())
}
