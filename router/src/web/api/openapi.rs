//! The API's own description (`OpenAPI` 3.1): made of the list of addresses, and of the types that answers and requests are.

use std::sync::LazyLock;

use crds::{Lifecycle, Visibility};
use http::{Method, Response};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};
use strum::VariantArray;

use super::super::endpoint::Endpoint;
use super::super::pages::{self, Problem};
use super::super::{
    Reply, accounts as asked_accounts, aliases as asked_aliases, apps as asked_apps,
    devices as asked_devices, instances as asked, preferences as asked_preferences,
    secrets as asked_secrets, tags as asked_tags,
};
use super::{
    Account, Page, accounts, aliases, apps, audit, devices, instances, limits, offer, preferences,
    secrets, sessions, tags, tokens,
};
use crate::policy::Action;

static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| serde_json::to_string(&document()).expect("it is plain data"));

/// Answers the description.
pub(in crate::web) fn get() -> Reply {
    let mut response = Response::new(DOCUMENT.clone());
    pages::safety(response.headers_mut(), "application/json");
    response.map(Into::into)
}

/// What one address does with one method.
struct Operation {
    id: &'static str,
    /// The kind of thing.
    of: &'static str,
    summary: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    /// Status and content of the answer when it is done as asked.
    done: (u16, &'static str, Option<Value>),
    /// Whether the answer has an `ETag`.
    tagged: bool,
}

/// The schemas that are referred to, of what is answered and of what is asked.
struct Schemas {
    answers: SchemaGenerator,
    requests: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Self {
            answers: settings().for_serialize().into_generator(),
            requests: settings().for_deserialize().into_generator(),
        }
    }

    /// What an answer has.
    fn answer<T: JsonSchema>(&mut self) -> Value {
        let schema = self.answers.subschema_for::<T>();
        json!({ "application/json": { "schema": schema } })
    }

    /// What a request has.
    fn request<T: JsonSchema>(&mut self) -> Value {
        let schema = self.requests.subschema_for::<T>();
        let content = json!({ "application/json": { "schema": schema } });
        json!({ "required": true, "content": content })
    }

    fn problem(&mut self) -> Value {
        let schema = self.answers.subschema_for::<Problem>();
        json!({ "application/problem+json": { "schema": schema } })
    }

    /// All of them, by name.
    fn finish(mut self) -> Map<String, Value> {
        let mut all = self.requests.take_definitions(true);
        all.append(&mut self.answers.take_definitions(true));
        all
    }
}

/// The whole description.
fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for endpoint in Endpoint::VARIANTS {
        let Some(operation) = operation(*endpoint, &mut schemas) else {
            continue;
        };
        let path = endpoint.path().replace('*', "{name}");
        let entry = paths.entry(path).or_insert_with(|| json!({}));
        entry[method(*endpoint)] = describe(*endpoint, operation, &schemas.problem());
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Wavestore",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": "Apps, instances, aliases, tags, secrets and accounts of a store. What is made and changed here are WaveApps, WaveInstances, \
                WaveAliases and Secrets in Kubernetes. Errors are problems (RFC 9457) with a stable `code`. HEAD is taken wherever GET is.",
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A personal token with the scope `store`, or an access token of the OIDC provider.",
                },
            },
        },
    })
}

/// The method that an endpoint is described by.
fn method(endpoint: Endpoint) -> String {
    let methods = endpoint.kind().methods().iter();
    let first = methods.clone().find(|method| *method != Method::HEAD);
    first.map_or_else(String::new, |method| method.as_str().to_lowercase())
}

fn describe(endpoint: Endpoint, operation: Operation, problem: &Value) -> Value {
    let Operation {
        id,
        of,
        summary,
        mut parameters,
        body,
        done: (status, words, content),
        tagged,
    } = operation;
    if endpoint.path().contains('*') {
        let mut schema = json!({ "type": "string", "minLength": 1 });
        if endpoint == Endpoint::ApiSetAlias {
            schema["pattern"] = json!("^[a-z]([-a-z0-9]*[a-z0-9])?$");
            schema["maxLength"] = json!(53);
        }
        if endpoint == Endpoint::ApiSetSecret {
            schema["pattern"] = json!(asked_secrets::NAME_PATTERN);
            schema["maxLength"] = json!(asked_secrets::LONGEST_NAME);
        }
        if endpoint == Endpoint::ApiSetTag {
            schema["pattern"] = json!(asked_tags::NAME_PATTERN);
            schema["maxLength"] = json!(asked_tags::LONGEST_NAME);
        }
        parameters.insert(
            0,
            json!({ "name": "name", "in": "path", "required": true, "description": "Its name.", "schema": schema }),
        );
    }
    let mut headers = Map::new();
    if tagged {
        let tag = json!({ "description": "Names this state, for `If-Match`.", "schema": { "type": "string" } });
        headers.insert("ETag".to_owned(), tag);
    }
    let mut done = json!({ "description": words });
    if let Some(content) = content {
        done["content"] = content;
    }
    if !headers.is_empty() {
        done["headers"] = Value::Object(headers);
    }
    let mut described = json!({
        "operationId": id,
        "tags": [of],
        "summary": summary,
        "responses": {
            (status.to_string()): done,
            "default": { "description": "It was not done, and why.", "content": problem },
        },
    });
    if !parameters.is_empty() {
        described["parameters"] = Value::Array(parameters);
    }
    if let Some(body) = body {
        described["requestBody"] = body;
    }
    if matches!(
        endpoint,
        Endpoint::ApiSetAlias | Endpoint::ApiSetTag | Endpoint::ApiSetSecret
    ) {
        let mut made = described["responses"]["200"].clone();
        made["description"] = json!("It is new.");
        described["responses"]["201"] = made;
    }
    if endpoint.action() == Action::Arrive {
        described["security"] = json!([]);
    }
    described
}

/// Describes an endpoint of the API; nothing for pages.
#[expect(clippy::too_many_lines, reason = "one entry for each endpoint")]
fn operation(endpoint: Endpoint, schemas: &mut Schemas) -> Option<Operation> {
    let limit = || {
        let schema = json!({ "type": "integer", "minimum": 1, "maximum": 500, "default": 100 });
        query("limit", "How many the answer holds at most.", &schema)
    };
    let after = || {
        let words = "Where to go on, as `next` of the answer before has it.";
        query("after", words, &json!({ "type": "string" }))
    };
    let text = |name, words| query(name, words, &json!({ "type": "string" }));
    let flag = |name, words| {
        let schema = json!({ "type": "boolean", "default": false });
        query(name, words, &schema)
    };
    let if_match = || {
        json!({
            "name": "If-Match", "in": "header", "description": "The `ETag` of the state that this is meant for.",
            "schema": { "type": "string" },
        })
    };
    let key = || {
        json!({
            "name": "Idempotency-Key", "in": "header",
            "description": "A request that is sent again with the same key makes nothing twice.",
            "schema": { "type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$" },
        })
    };
    let gone = (202, "It is gone a little later.", None);
    Some(match endpoint {
        Endpoint::ApiDescription => Operation {
            id: "getDescription",
            of: "description",
            summary: "This description",
            parameters: Vec::new(),
            body: None,
            done: (
                200,
                "An OpenAPI document.",
                Some(json!({ "application/json": { "schema": { "type": "object" } } })),
            ),
            tagged: false,
        },
        Endpoint::ApiAccount => Operation {
            id: "getAccount",
            of: "account",
            summary: "Whose token it is, and what it is good for",
            parameters: Vec::new(),
            body: None,
            done: (200, "The account.", Some(schemas.answer::<Account>())),
            tagged: false,
        },
        Endpoint::ApiSessions => Operation {
            id: "listSessions",
            of: "account",
            summary: "The browsers in which one is signed in, those used last first, at most 100",
            parameters: Vec::new(),
            body: None,
            done: (
                200,
                "All of them.",
                Some(schemas.answer::<Page<sessions::Told>>()),
            ),
            tagged: false,
        },
        Endpoint::ApiEndSession => Operation {
            id: "endSession",
            of: "account",
            summary: "Sign out in one of one's browsers",
            parameters: Vec::new(),
            body: None,
            done: (204, "It has ended.", None),
            tagged: false,
        },
        Endpoint::ApiEndSessions => Operation {
            id: "endSessions",
            of: "account",
            summary: "Sign out in all of one's browsers, but in the one that asks for it",
            parameters: Vec::new(),
            body: None,
            done: (204, "They have ended.", None),
            tagged: false,
        },
        Endpoint::ApiTokens => Operation {
            id: "listTokens",
            of: "account",
            summary: "One's tokens, by name, without their secrets",
            parameters: vec![limit(), after()],
            body: None,
            done: (
                200,
                "Some of them.",
                Some(schemas.answer::<Page<tokens::Told>>()),
            ),
            tagged: false,
        },
        Endpoint::ApiCreateToken => Operation {
            id: "createToken",
            of: "account",
            summary: "Make a token; not with a token, but in a session or with an access token of the OIDC provider",
            parameters: Vec::new(),
            body: Some(schemas.request::<tokens::New>()),
            done: (201, "The token.", Some(schemas.answer::<tokens::Made>())),
            tagged: false,
        },
        Endpoint::ApiRevokeToken => Operation {
            id: "revokeToken",
            of: "account",
            summary: "Revoke one of one's tokens",
            parameters: Vec::new(),
            body: None,
            done: (204, "It is revoked.", None),
            tagged: false,
        },
        Endpoint::ApiDevice => Operation {
            id: "askToSignIn",
            of: "account",
            summary: "Ask for somebody to let this device in, which then shows them a code (RFC 8628, in JSON)",
            parameters: Vec::new(),
            body: Some(schemas.request::<asked_devices::Device>()),
            done: (
                201,
                "What the device shows, and what it asks for its token with.",
                Some(schemas.answer::<devices::Told>()),
            ),
            tagged: false,
        },
        Endpoint::ApiDeviceToken => Operation {
            id: "getDeviceToken",
            of: "account",
            summary: "The token of a device that was let in, told once; until then a problem with the code `AuthorizationPending`",
            parameters: Vec::new(),
            body: Some(schemas.request::<devices::Asked>()),
            done: (200, "The token.", Some(schemas.answer::<tokens::Made>())),
            tagged: false,
        },
        Endpoint::ApiAccounts => Operation {
            id: "listAccounts",
            of: "accounts",
            summary: "Everybody's accounts by name, as an admin",
            parameters: vec![
                limit(),
                query(
                    "after",
                    "Where to go on, as `next` of the answer before has it.",
                    &json!({ "type": "string", "pattern": asked_accounts::NAME_PATTERN, "maxLength": 128 }),
                ),
            ],
            body: None,
            done: (
                200,
                "Some of them.",
                Some(schemas.answer::<Page<accounts::Told>>()),
            ),
            tagged: false,
        },
        Endpoint::ApiCreateAccount => Operation {
            id: "createAccount",
            of: "accounts",
            summary: "Make an account, as an admin",
            parameters: Vec::new(),
            body: Some(schemas.request::<asked_accounts::NewAccount>()),
            done: (
                201,
                "Its one-time password.",
                Some(schemas.answer::<accounts::OneTime>()),
            ),
            tagged: false,
        },
        Endpoint::ApiOneAccount => Operation {
            id: "getOneAccount",
            of: "accounts",
            summary: "One account, as an admin",
            parameters: Vec::new(),
            body: None,
            done: (
                200,
                "The account.",
                Some(schemas.answer::<accounts::Told>()),
            ),
            tagged: true,
        },
        Endpoint::ApiChangeAccount => Operation {
            id: "changeAccount",
            of: "accounts",
            summary: "Give an account another role, keep it from signing in, or let it in again, as an admin",
            parameters: vec![if_match()],
            body: Some(schemas.request::<asked_accounts::Change>()),
            done: (
                200,
                "The account as it is now.",
                Some(schemas.answer::<accounts::Told>()),
            ),
            tagged: true,
        },
        Endpoint::ApiResetPassword => Operation {
            id: "resetPassword",
            of: "accounts",
            summary: "Give an account a one-time password, and end its sessions and tokens, as an admin",
            parameters: Vec::new(),
            body: Some(schemas.request::<accounts::NoFields>()),
            done: (
                200,
                "The password.",
                Some(schemas.answer::<accounts::OneTime>()),
            ),
            tagged: false,
        },
        Endpoint::ApiApps => Operation {
            id: "listApps",
            of: "apps",
            summary: "The apps that one sees, a version each, the newest first",
            parameters: vec![
                text(
                    "q",
                    "Words that all have to be in name, title, description or tags.",
                ),
                text("app", "The versions of the app of this name."),
                text("owner", "Those of this account."),
                query(
                    "lifecycle",
                    "Those that are run in this way.",
                    &serde_json::to_value(schemas.requests.subschema_for::<Lifecycle>())
                        .expect("a schema is plain data"),
                ),
                text("tag", "Those that have this tag."),
                limit(),
                after(),
            ],
            body: None,
            done: (
                200,
                "Some of them.",
                Some(schemas.answer::<Page<apps::Listed>>()),
            ),
            tagged: false,
        },
        Endpoint::ApiPublish => Operation {
            id: "publishApp",
            of: "apps",
            summary: "Publish a bundle",
            parameters: vec![
                key(),
                query(
                    "visibility",
                    "Who sees the app.",
                    &serde_json::to_value(schemas.requests.subschema_for::<Visibility>())
                        .expect("a schema is plain data"),
                ),
            ],
            body: Some(json!({
                "required": true,
                "content": {
                    "application/zip": { "schema": { "type": "string", "contentMediaType": "application/zip" } },
                    "application/octet-stream": { "schema": { "type": "string", "format": "binary" } },
                },
            })),
            done: (
                202,
                "It is stored, and imported a little later: `Location` tells how far it is.",
                Some(schemas.answer::<apps::Version>()),
            ),
            tagged: true,
        },
        Endpoint::ApiApp => Operation {
            id: "getApp",
            of: "apps",
            summary: "One version of an app, by the name of its WaveApp",
            parameters: Vec::new(),
            body: None,
            done: (200, "The version.", Some(schemas.answer::<apps::Version>())),
            tagged: true,
        },
        Endpoint::ApiChangeApp => Operation {
            id: "changeApp",
            of: "apps",
            summary: "Change who sees an app, its tags, or, as an admin, who owns it",
            parameters: vec![if_match()],
            body: Some(schemas.request::<asked_apps::Change>()),
            done: (
                200,
                "The version as it is now.",
                Some(schemas.answer::<apps::Version>()),
            ),
            tagged: true,
        },
        Endpoint::ApiDeleteApp => Operation {
            id: "deleteApp",
            of: "apps",
            summary: "Delete a version of an app that has no instances",
            parameters: vec![if_match()],
            body: None,
            done: gone,
            tagged: false,
        },
        Endpoint::ApiBundle => Operation {
            id: "getBundle",
            of: "apps",
            summary: "The bundle of an app that one manages",
            parameters: Vec::new(),
            body: None,
            done: (
                200,
                "The bundle.",
                Some(
                    json!({ "application/zip": { "schema": { "type": "string", "contentMediaType": "application/zip" } } }),
                ),
            ),
            tagged: false,
        },
        Endpoint::ApiPreferences => Operation {
            id: "listPreferences",
            of: "apps",
            summary: "The apps that one likes or has pinned, by name",
            parameters: vec![limit(), after()],
            body: None,
            done: (
                200,
                "Some of them.",
                Some(schemas.answer::<Page<preferences::Told>>()),
            ),
            tagged: false,
        },
        Endpoint::ApiPrefer => Operation {
            id: "changePreference",
            of: "apps",
            summary: "Like or pin an app by its name, or take that back",
            parameters: Vec::new(),
            body: Some(schemas.request::<asked_preferences::Change>()),
            done: (
                200,
                "What one thinks of it now.",
                Some(schemas.answer::<preferences::Told>()),
            ),
            tagged: false,
        },
        Endpoint::ApiInstances => Operation {
            id: "listInstances",
            of: "instances",
            summary: "The instances that one manages, by name",
            parameters: vec![text("owner", "Those of this account."), limit(), after()],
            body: None,
            done: (
                200,
                "Some of them.",
                Some(schemas.answer::<Page<instances::Instance>>()),
            ),
            tagged: false,
        },
        Endpoint::ApiCreateInstance => Operation {
            id: "createInstance",
            of: "instances",
            summary: "Run an app",
            parameters: vec![key()],
            body: Some(schemas.request::<asked::NewInstance>()),
            done: (
                201,
                "The instance.",
                Some(schemas.answer::<instances::Instance>()),
            ),
            tagged: true,
        },
        Endpoint::ApiInstance => Operation {
            id: "getInstance",
            of: "instances",
            summary: "One instance",
            parameters: Vec::new(),
            body: None,
            done: (
                200,
                "The instance.",
                Some(schemas.answer::<instances::Instance>()),
            ),
            tagged: true,
        },
        Endpoint::ApiChangeInstance => Operation {
            id: "changeInstance",
            of: "instances",
            summary: "Change its version, its size, who may enter, whether it is kept down, or when it is deleted",
            parameters: vec![if_match()],
            body: Some(schemas.request::<asked::Change>()),
            done: (
                200,
                "The instance as it is now.",
                Some(schemas.answer::<instances::Instance>()),
            ),
            tagged: true,
        },
        Endpoint::ApiDeleteInstance => Operation {
            id: "deleteInstance",
            of: "instances",
            summary: "Delete an instance with its volumes, at once",
            parameters: vec![if_match()],
            body: None,
            done: gone,
            tagged: false,
        },
        Endpoint::ApiLogs => Operation {
            id: "readLogs",
            of: "instances",
            summary: "What the app in an instance has written, for its owner",
            parameters: vec![
                query(
                    "tailLines",
                    "How many of the last lines.",
                    &json!({ "type": "integer", "minimum": 0, "maximum": 100_000, "default": 1000 }),
                ),
                flag("follow", "Go on with what it writes from now on."),
                flag(
                    "previous",
                    "The log of the container before, which has ended.",
                ),
            ],
            body: None,
            done: (
                200,
                "The lines.",
                Some(json!({ "text/plain": { "schema": { "type": "string" } } })),
            ),
            tagged: false,
        },
        Endpoint::ApiAliases => Operation {
            id: "listAliases",
            of: "aliases",
            summary: "The aliases of instances that one manages; for admins all",
            parameters: vec![limit(), after()],
            body: None,
            done: (
                200,
                "Some of them. There may be more though these are few: `next` counts.",
                Some(schemas.answer::<Page<aliases::Alias>>()),
            ),
            tagged: false,
        },
        Endpoint::ApiAlias => Operation {
            id: "getAlias",
            of: "aliases",
            summary: "One alias",
            parameters: Vec::new(),
            body: None,
            done: (200, "The alias.", Some(schemas.answer::<aliases::Alias>())),
            tagged: true,
        },
        Endpoint::ApiSetAlias => Operation {
            id: "setAlias",
            of: "aliases",
            summary: "Let an alias lead to an instance, as an admin",
            parameters: vec![if_match()],
            body: Some(schemas.request::<asked_aliases::Wanted>()),
            done: (
                200,
                "The alias as it is now.",
                Some(schemas.answer::<aliases::Alias>()),
            ),
            tagged: true,
        },
        Endpoint::ApiDeleteAlias => Operation {
            id: "deleteAlias",
            of: "aliases",
            summary: "Delete an alias, as an admin",
            parameters: vec![if_match()],
            body: None,
            done: gone,
            tagged: false,
        },
        Endpoint::ApiTags => Operation {
            id: "listTags",
            of: "tags",
            summary: "What the store knows of tags, by name",
            parameters: vec![limit(), after()],
            body: None,
            done: (
                200,
                "Some of them.",
                Some(schemas.answer::<Page<tags::Told>>()),
            ),
            tagged: false,
        },
        Endpoint::ApiTag => Operation {
            id: "getTag",
            of: "tags",
            summary: "What the store knows of a tag",
            parameters: Vec::new(),
            body: None,
            done: (200, "The tag.", Some(schemas.answer::<tags::Told>())),
            tagged: true,
        },
        Endpoint::ApiOffer => Operation {
            id: "getOffer",
            of: "description",
            summary: "What the store offers to apps and instances by name: runtime versions and sizes",
            parameters: Vec::new(),
            body: None,
            done: (
                200,
                "What it offers.",
                Some(schemas.answer::<offer::Told>()),
            ),
            tagged: false,
        },
        Endpoint::ApiLimits => Operation {
            id: "getLimits",
            of: "limits",
            summary: "What users and apps may have at once, and what users have, as an admin",
            parameters: vec![limit()],
            body: None,
            done: (200, "The limits.", Some(schemas.answer::<limits::Told>())),
            tagged: false,
        },
        Endpoint::ApiAudit => Operation {
            id: "listDeeds",
            of: "audit",
            summary: "What people have done through the store, the latest first, as an admin",
            parameters: vec![
                text("account", "Those of this account."),
                query(
                    "thing",
                    "Those to things of this kind.",
                    &json!({ "type": "string", "enum": ["app", "instance", "alias", "tag", "secret", "account"] }),
                ),
                text("name", "Those to things of this name."),
                limit(),
                query(
                    "after",
                    "Where to go on, as `next` of the answer before has it.",
                    &json!({ "type": "string", "pattern": "^[0-9]{1,18}$" }),
                ),
            ],
            body: None,
            done: (
                200,
                "Some of them.",
                Some(schemas.answer::<Page<audit::Told>>()),
            ),
            tagged: false,
        },
        Endpoint::ApiSetTag => Operation {
            id: "setTag",
            of: "tags",
            summary: "Say what a tag is, and what roles do by it, as an admin",
            parameters: vec![if_match()],
            body: Some(schemas.request::<asked_tags::Wanted>()),
            done: (
                200,
                "The tag as it is now.",
                Some(schemas.answer::<tags::Told>()),
            ),
            tagged: true,
        },
        Endpoint::ApiDeleteTag => Operation {
            id: "deleteTag",
            of: "tags",
            summary: "Forget what a tag is, as an admin; apps keep the word",
            parameters: vec![if_match()],
            body: None,
            done: (204, "It is gone.", None),
            tagged: false,
        },
        Endpoint::ApiSecrets => Operation {
            id: "listSecrets",
            of: "secrets",
            summary: "One's secrets for apps and those for all apps, by name; their values are never told",
            parameters: vec![limit(), after()],
            body: None,
            done: (
                200,
                "Some of them.",
                Some(schemas.answer::<Page<secrets::Told>>()),
            ),
            tagged: false,
        },
        Endpoint::ApiSecret => Operation {
            id: "getSecret",
            of: "secrets",
            summary: "Which apps read a secret, and what its keys are called",
            parameters: Vec::new(),
            body: None,
            done: (200, "The secret.", Some(schemas.answer::<secrets::Told>())),
            tagged: true,
        },
        Endpoint::ApiSetSecret => Operation {
            id: "setSecret",
            of: "secrets",
            summary: "Make a secret, or replace all of it; one for all apps as an admin",
            parameters: vec![if_match()],
            body: Some(schemas.request::<asked_secrets::Wanted>()),
            done: (
                200,
                "The secret as it is now.",
                Some(schemas.answer::<secrets::Told>()),
            ),
            tagged: true,
        },
        Endpoint::ApiDeleteSecret => Operation {
            id: "deleteSecret",
            of: "secrets",
            summary: "Delete a secret that no app reads",
            parameters: vec![if_match()],
            body: None,
            done: (204, "It is gone.", None),
            tagged: false,
        },
        Endpoint::Home
        | Endpoint::SignInPage
        | Endpoint::SignIn
        | Endpoint::SignOut
        | Endpoint::SignInAtProvider
        | Endpoint::ProviderAnswer
        | Endpoint::BackChannelLogout
        | Endpoint::Visit
        | Endpoint::Picture
        | Endpoint::Account
        | Endpoint::ChangePassword
        | Endpoint::EndSession
        | Endpoint::EndOtherSessions
        | Endpoint::CreateToken
        | Endpoint::RevokeToken
        | Endpoint::Device
        | Endpoint::AnswerDevice
        | Endpoint::Accounts
        | Endpoint::CreateAccount
        | Endpoint::ResetPassword
        | Endpoint::ChangeRole
        | Endpoint::DisableAccount
        | Endpoint::EnableAccount
        | Endpoint::Tags
        | Endpoint::SetTag
        | Endpoint::DeleteTag
        | Endpoint::Limits
        | Endpoint::Audit
        | Endpoint::Secrets
        | Endpoint::SetSecret
        | Endpoint::DeleteSecret
        | Endpoint::App
        | Endpoint::Run
        | Endpoint::Prefer
        | Endpoint::PublishPage
        | Endpoint::Instances
        | Endpoint::Instance
        | Endpoint::ChangeInstance
        | Endpoint::DeleteInstance => return None,
    })
}

/// A parameter of the query.
fn query(name: &str, words: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "description": words, "schema": schema })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_the_api_is_described_and_no_other() {
        let document = document();
        let paths = document["paths"].as_object().expect("paths");
        for endpoint in Endpoint::VARIANTS {
            let path = endpoint.path().replace('*', "{name}");
            let is_api = path.starts_with("/api/v1/");
            assert_eq!(endpoint.takes_tokens(), is_api, "{endpoint:?}");
            let described = paths.get(&path).filter(|_| is_api);
            let all = endpoint.kind().methods().iter();
            for method in all.filter(|method| **method != Method::HEAD) {
                let name = method.as_str().to_lowercase();
                let is_described = described.is_some_and(|path| path.get(&name).is_some());
                assert_eq!(is_described, is_api, "{endpoint:?}: {method} {path}");
            }
        }
        for (path, methods) in paths {
            for name in methods.as_object().expect("methods").keys() {
                let method: Method = name.to_uppercase().parse().expect("a method");
                let found = Endpoint::find(&method, &path.replace("{name}", "x"));
                let found = found
                    .map(Endpoint::takes_tokens)
                    .map_err(|error| error.code());
                assert_eq!(found, Ok(true), "{method} {path}");
            }
        }
    }

    #[test]
    fn everything_that_is_referred_to_is_there() {
        let document = document();
        let text = document.to_string();
        for part in text.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().expect("a name");
            let schemas = &document["components"]["schemas"];
            assert!(schemas.get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn the_description_is_as_it_was() {
        let text = serde_json::to_string_pretty(&document()).expect("plain data");
        insta::assert_snapshot!("openapi", text);
    }
}
