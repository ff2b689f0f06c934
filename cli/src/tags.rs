//! Tags: what the store knows of words that apps carry.

use reqwest::{Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::apps::without_empty;
use crate::args::{Output, TagChange, TagCommand};
use crate::client::{Client, answer, done};
use crate::error::Error;
use crate::print::{note, or_none, print, table};

/// A tag as the API tells it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tag {
    name: String,
    title: String,
    color: String,
    description: String,
    admin_roles: Vec<String>,
    visitor_roles: Vec<String>,
}

pub(crate) async fn run(client: &Client, command: TagCommand, output: Output) -> Result<(), Error> {
    match command {
        TagCommand::List => {
            let all: Vec<Tag> = client.list("tags", &[]).await?;
            print(output, &all, || rows(&all));
            Ok(())
        }
        TagCommand::Get { name } => {
            let tag: Tag = client.get(&format!("tags/{name}")).await?;
            print(output, &tag, || rows(std::slice::from_ref(&tag)));
            Ok(())
        }
        TagCommand::Set { name, change } => {
            let tag = set(client, &name, change).await?;
            print(output, &tag, || rows(std::slice::from_ref(&tag)));
            Ok(())
        }
        TagCommand::Delete { name } => {
            let path = format!("tags/{name}");
            done(client.request(Method::DELETE, &path).send().await?).await?;
            note(format_args!("Deleted the tag {name}; apps keep the word"));
            Ok(())
        }
    }
}

/// Makes a tag, or changes what is named of the one that is there, if nobody else does in between.
async fn set(client: &Client, name: &str, change: TagChange) -> Result<Tag, Error> {
    let path = format!("tags/{name}");
    let found = client.request(Method::GET, &path).send().await?;
    let (known, state) = if found.status() == StatusCode::NOT_FOUND {
        (Tag::default(), None)
    } else {
        let state = found.headers().get(header::ETAG).cloned();
        (answer(found).await?, state)
    };
    let TagChange {
        title,
        color,
        description,
        admin_roles,
        visitor_roles,
    } = change;
    let mut wanted = json!({
        "title": title.unwrap_or(known.title),
        "description": description.unwrap_or(known.description),
        "adminRoles": admin_roles.map_or(known.admin_roles, without_empty),
        "visitorRoles": visitor_roles.map_or(known.visitor_roles, without_empty),
    });
    // The store has one for new tags.
    let color = color.or_else(|| Some(known.color).filter(|color| !color.is_empty()));
    if let Some(color) = color {
        wanted["color"] = json!(color);
    }
    let mut request = client.request(Method::PUT, &path).json(&wanted);
    if let Some(state) = state {
        request = request.header(header::IF_MATCH, state);
    }
    answer(request.send().await?).await
}

fn rows(tags: &[Tag]) -> String {
    let lists: Vec<[String; 2]> = tags
        .iter()
        .map(|tag| [&tag.admin_roles, &tag.visitor_roles].map(|roles| roles.join(", ")))
        .collect();
    let rows = tags.iter().zip(&lists).map(|(tag, [admins, visitors])| {
        [
            tag.name.as_str(),
            &tag.title,
            &tag.color,
            or_none(admins),
            or_none(visitors),
            &tag.description,
        ]
    });
    let head = [
        "NAME",
        "TITLE",
        "COLOUR",
        "ADMIN ROLES",
        "VISITOR ROLES",
        "DESCRIPTION",
    ];
    table(head, rows)
}
