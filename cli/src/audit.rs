//! What people have done.

use serde::{Deserialize, Serialize};

use crate::args::{AuditArgs, Output};
use crate::client::Client;
use crate::error::Error;
use crate::print::{print, table};

/// A deed as the API tells it.
#[derive(Debug, Serialize, Deserialize)]
struct Deed {
    at: String,
    account: String,
    thing: String,
    name: String,
    done: String,
}

pub(crate) async fn run(client: &Client, args: AuditArgs, output: Output) -> Result<(), Error> {
    let AuditArgs {
        account,
        thing,
        name,
        limit,
    } = args;
    let limit = limit.to_string();
    let asked = [
        ("account", account.as_deref()),
        ("thing", thing.map(Into::into)),
        ("name", name.as_deref()),
        ("limit", Some(limit.as_str())),
    ];
    let query: Vec<(&str, &str)> = asked
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let deeds: Vec<Deed> = client.part("audit", &query).await?;
    print(output, &deeds, || {
        table(
            ["AT", "ACCOUNT", "THING", "NAME", "DONE"],
            deeds.iter().map(|deed| {
                [
                    deed.at.as_str(),
                    &deed.account,
                    &deed.thing,
                    &deed.name,
                    &deed.done,
                ]
            }),
        )
    });
    Ok(())
}
