//! Everybody's accounts, for admins.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::args::{AccountCommand, AdminCommand, Output};
use crate::client::{Client, answer};
use crate::error::Error;
use crate::print::{note, or_none, print, table};

/// An account as the API tells it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    name: String,
    role: String,
    disabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roles: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password_expires_at: Option<String>,
}

/// A password that is told once.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OneTime {
    name: String,
    password: String,
    password_expires_at: String,
}

pub(crate) async fn run(
    client: &Client,
    command: AdminCommand,
    output: Output,
) -> Result<(), Error> {
    let AdminCommand::Account(command) = command;
    match command {
        AccountCommand::List => {
            let all: Vec<Account> = client.list("accounts", &[]).await?;
            print(output, &all, || rows(&all));
            Ok(())
        }
        AccountCommand::Get { name } => {
            let account: Account = client.get(&of(&name)).await?;
            print(output, &account, || rows(std::slice::from_ref(&account)));
            Ok(())
        }
        AccountCommand::Create { name, role } => {
            let new = json!({ "name": name, "role": role.to_string() });
            tell(client, "accounts", &new, output).await
        }
        AccountCommand::ResetPassword { name } => {
            tell(
                client,
                &format!("{}/password", of(&name)),
                &json!({}),
                output,
            )
            .await
        }
        AccountCommand::SetRole { name, role } => {
            let change = json!({ "role": role.to_string() });
            self::change(client, &name, &change, output).await
        }
        AccountCommand::Disable { name } => {
            change(client, &name, &json!({ "disabled": true }), output).await
        }
        AccountCommand::Enable { name } => {
            change(client, &name, &json!({ "disabled": false }), output).await
        }
    }
}

/// The path of an account. What has another meaning in paths is in no account's name.
fn of(name: &str) -> String {
    let name = url::form_urlencoded::byte_serialize(name.as_bytes());
    format!("accounts/{}", name.collect::<String>())
}

/// Asks for a one-time password, and shows it.
async fn tell(client: &Client, path: &str, asked: &Value, output: Output) -> Result<(), Error> {
    let request = client.request(Method::POST, path).json(asked);
    let told: OneTime = answer(request.send().await?).await?;
    print(output, &told, || told.password.clone());
    note(format_args!(
        "This is the one-time password of {}, good until {}, and not shown again. They choose their own on the page /account.",
        told.name, told.password_expires_at
    ));
    Ok(())
}

async fn change(client: &Client, name: &str, change: &Value, output: Output) -> Result<(), Error> {
    let request = client.request(Method::PATCH, &of(name)).json(change);
    let account: Account = answer(request.send().await?).await?;
    print(output, &account, || rows(std::slice::from_ref(&account)));
    Ok(())
}

fn rows(accounts: &[Account]) -> String {
    let roles: Vec<String> = accounts
        .iter()
        .map(|account| account.roles.join(", "))
        .collect();
    let rows = accounts.iter().zip(&roles).map(|(account, roles)| {
        [
            account.name.as_str(),
            &account.role,
            if account.disabled { "yes" } else { "no" },
            account.issuer.as_deref().unwrap_or("this store"),
            or_none(roles),
        ]
    });
    table(["NAME", "ROLE", "DISABLED", "SIGNS IN AT", "ROLES"], rows)
}
