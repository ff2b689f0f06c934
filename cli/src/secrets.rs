//! Secrets: what apps read, and nobody is shown. Values come from files and from standard input.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::args::{Output, SecretCommand, SecretScope, SecretValues};
use crate::client::{Client, answer, done};
use crate::error::Error;
use crate::print::{note, or_none, print, table};

/// A secret as the API tells it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Secret {
    name: String,
    scope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    keys: Vec<String>,
    used_by: Vec<App>,
    read_only: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    set_at: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct App {
    name: String,
    version: String,
}

pub(crate) async fn run(
    client: &Client,
    command: SecretCommand,
    output: Output,
) -> Result<(), Error> {
    match command {
        SecretCommand::List => {
            let all: Vec<Secret> = client.list("secrets", &[]).await?;
            print(output, &all, || rows(&all));
            Ok(())
        }
        SecretCommand::Get { name } => {
            let secret: Secret = client.get(&format!("secrets/{name}")).await?;
            print(output, &secret, || rows(std::slice::from_ref(&secret)));
            Ok(())
        }
        SecretCommand::Set {
            name,
            values,
            scope,
            owner,
        } => {
            let mut wanted = document(read(values)?);
            wanted.extend(owner.map(|owner| ("owner".to_owned(), json!(owner))));
            let secret = set(client, &name, wanted, scope).await?;
            print(output, &secret, || rows(std::slice::from_ref(&secret)));
            Ok(())
        }
        SecretCommand::Delete { name } => {
            let path = format!("secrets/{name}");
            done(client.request(Method::DELETE, &path).send().await?).await?;
            note(format_args!("Deleted the secret {name}"));
            Ok(())
        }
    }
}

/// Replaces the secret that is there, if nobody else does in between, or makes one. Which apps read it stays when nothing is said.
async fn set(
    client: &Client,
    name: &str,
    mut wanted: Map<String, Value>,
    scope: Option<SecretScope>,
) -> Result<Secret, Error> {
    let path = format!("secrets/{name}");
    let found = client.request(Method::GET, &path).send().await?;
    let (known, state) = if found.status() == StatusCode::NOT_FOUND {
        (None, None)
    } else {
        let state = found.headers().get(header::ETAG).cloned();
        (Some(answer::<Secret>(found).await?), state)
    };
    let (scope, app) = match (scope, known) {
        (Some(SecretScope::Private), _) | (None, None) => ("Private".to_owned(), None),
        (Some(SecretScope::App(app)), _) => ("App".to_owned(), Some(app)),
        (Some(SecretScope::All), _) => ("AllUsers".to_owned(), None),
        (None, Some(known)) => (known.scope, known.app),
    };
    wanted.insert("scope".to_owned(), json!(scope));
    wanted.extend(app.map(|app| ("app".to_owned(), json!(app))));
    let mut request = client.request(Method::PUT, &path).json(&wanted);
    if let Some(state) = state {
        request = request.header(header::IF_MATCH, state);
    }
    answer(request.send().await?).await
}

/// Reads all values, each key once.
fn read(values: SecretValues) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let SecretValues {
        files,
        stdin,
        env_files,
    } = values;
    let mut all = BTreeMap::new();
    let mut take = |key: String, value: Vec<u8>| match all.insert(key.clone(), value) {
        None => Ok(()),
        Some(_) => Err(Error::KeyTwice(key)),
    };
    for (key, path) in files {
        let value = std::fs::read(&path).map_err(unread(&path))?;
        take(key, value)?;
    }
    for path in env_files {
        let text = std::fs::read_to_string(&path).map_err(unread(&path))?;
        for (key, value) in variables(&path, &text)? {
            take(key.to_owned(), value.as_bytes().to_vec())?;
        }
    }
    if let Some(key) = stdin {
        let mut value = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut value);
        read.map_err(unread(&PathBuf::from("standard input")))?;
        take(key, value)?;
    }
    Ok(all)
}

fn unread(file: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let file = file.to_owned();
    move |source| Error::File {
        task: "read",
        file,
        source,
    }
}

/// The variables of a file, as `kubectl create secret --from-env-file` takes them. What is wrong is told without the line: it may be
/// a value.
fn variables<'a>(file: &Path, text: &'a str) -> Result<Vec<(&'a str, &'a str)>, Error> {
    let lines = text.lines().enumerate();
    let lines = lines.map(|(at, line)| (at, line.trim_start()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(at, line)| {
            line.split_once('=').ok_or_else(|| Error::BadLine {
                file: file.to_owned(),
                line: at + 1,
            })
        })
        .collect()
}

/// The document that sets these values: text as text, all else in base64.
fn document(values: BTreeMap<String, Vec<u8>>) -> Map<String, Value> {
    let (mut text, mut data) = (Map::new(), Map::new());
    for (key, value) in values {
        match String::from_utf8(value) {
            Ok(value) => text.insert(key, Value::String(value)),
            Err(bytes) => data.insert(key, Value::String(STANDARD.encode(bytes.as_bytes()))),
        };
    }
    let mut document = Map::new();
    document.insert("stringData".to_owned(), Value::Object(text));
    document.insert("data".to_owned(), Value::Object(data));
    document
}

fn rows(secrets: &[Secret]) -> String {
    let cells: Vec<[String; 3]> = secrets.iter().map(cells).collect();
    let rows = secrets.iter().zip(&cells);
    let rows = rows.map(|(secret, [readers, keys, used_by])| {
        [
            secret.name.as_str(),
            readers,
            secret.owner.as_deref().unwrap_or("-"),
            keys,
            used_by,
            secret.set_at.as_deref().unwrap_or("-"),
        ]
    });
    table(["NAME", "SCOPE", "OWNER", "KEYS", "USED BY", "SET"], rows)
}

/// Which apps read it, in the words that set it; its keys; and who does.
fn cells(secret: &Secret) -> [String; 3] {
    let scope = match (secret.scope.as_str(), &secret.app) {
        (_, Some(app)) => format!("app={app}"),
        ("AllUsers", None) => "all".to_owned(),
        (scope, None) => scope.to_lowercase(),
    };
    let used_by = secret.used_by.iter();
    let used_by: Vec<String> = used_by
        .map(|app| format!("{}:{}", app.name, app.version))
        .collect();
    [
        scope,
        or_none(&secret.keys.join(", ")).to_owned(),
        or_none(&used_by.join(", ")).to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_as_kubectl_reads_them() {
        let file = Path::new("x.env");
        let text = "# a comment\n\nUSER=bob\n  PASSWORD=a=\"b\" \nEMPTY=\n";
        let found = variables(file, text).expect("variables");
        assert_eq!(
            found,
            [("USER", "bob"), ("PASSWORD", "a=\"b\" "), ("EMPTY", "")]
        );
        let words = variables(file, "A=1\nhunter2\n").expect_err("no variable");
        assert_eq!(words.to_string(), "line 2 of `x.env` is not `KEY=VALUE`");
    }

    #[test]
    fn bytes_that_are_no_text_go_in_base64() {
        let values = [
            ("text".to_owned(), "ä\n".as_bytes().to_vec()),
            ("bytes".to_owned(), vec![0xff, 0]),
        ];
        let document = Value::Object(document(values.into()));
        assert_eq!(
            document,
            json!({ "stringData": { "text": "ä\n" }, "data": { "bytes": "/wA=" } })
        );
    }

    #[test]
    fn a_key_has_one_value() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("x.env");
        std::fs::write(&file, "a=1\nb=2\n").expect("written");
        let values = |key: &str| SecretValues {
            files: vec![(key.to_owned(), file.clone())],
            stdin: None,
            env_files: vec![file.clone()],
        };
        let read_twice = read(values("a")).expect_err("a has two values");
        assert_eq!(read_twice.to_string(), "the key `a` is given twice");
        let all = read(values("c")).expect("values");
        assert_eq!(all["c"], b"a=1\nb=2\n");
        assert_eq!(all["b"], b"2");
    }

    #[test]
    fn scopes_are_shown_in_the_words_that_set_them() {
        let secret = |scope: &str, app: Option<&str>| Secret {
            name: "x".to_owned(),
            scope: scope.to_owned(),
            app: app.map(str::to_owned),
            owner: None,
            keys: Vec::new(),
            used_by: vec![App {
                name: "hello".to_owned(),
                version: "1.0.0".to_owned(),
            }],
            read_only: false,
            set_at: None,
        };
        for (scope, app, expected) in [
            ("Private", None, "private"),
            ("App", Some("hello"), "app=hello"),
            ("AllUsers", None, "all"),
        ] {
            let [found, keys, used_by] = cells(&secret(scope, app));
            assert_eq!((&*found, &*keys, &*used_by), (expected, "-", "hello:1.0.0"));
        }
    }
}
