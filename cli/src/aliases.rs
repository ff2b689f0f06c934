//! Aliases: other names of instances.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::{AliasCommand, Output};
use crate::client::{Client, answer, done};
use crate::error::Error;
use crate::print::{note, print, table};

/// An alias as the API tells it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alias {
    name: String,
    instance: String,
    primary: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    ready: bool,
    #[serde(default)]
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

pub(crate) async fn run(
    client: &Client,
    command: AliasCommand,
    output: Output,
) -> Result<(), Error> {
    match command {
        AliasCommand::List => {
            let all: Vec<Alias> = client.list("aliases", &[]).await?;
            print(output, &all, || {
                table(
                    ["NAME", "INSTANCE", "PRIMARY", "HOST", "READY", "MESSAGE"],
                    all.iter().map(|alias| {
                        [
                            alias.name.as_str(),
                            &alias.instance,
                            yes_or_no(alias.primary),
                            alias.host.as_deref().unwrap_or("-"),
                            yes_or_no(alias.ready),
                            &alias.message,
                        ]
                    }),
                )
            });
            Ok(())
        }
        AliasCommand::Set {
            name,
            instance,
            primary,
        } => {
            let wanted = json!({ "instance": instance, "primary": primary });
            let request = client.request(Method::PUT, &format!("aliases/{name}"));
            let alias: Alias = answer(request.json(&wanted).send().await?).await?;
            print(output, &alias, || {
                format!("The alias {name} leads to {}", alias.instance)
            });
            Ok(())
        }
        AliasCommand::Delete { name } => {
            let path = format!("aliases/{name}");
            done(client.request(Method::DELETE, &path).send().await?).await?;
            note(format_args!("Deleted the alias {name}"));
            Ok(())
        }
    }
}

fn yes_or_no(is: bool) -> &'static str {
    if is { "true" } else { "false" }
}
