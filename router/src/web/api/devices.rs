//! Devices that ask to be let in (RFC 8628), in the API's own form: JSON in place of forms, problems in place of OAuth's errors.

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use super::super::devices::{self, Device};
use super::super::{Call, Reply, Store};
use super::tokens::Made;
use super::{document, json, moment};
use crate::error::Error;

/// How often a device asks, in seconds.
const INTERVAL: u32 = 3;

/// What a device goes on with.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "DeviceAuthorization")]
pub(super) struct Told {
    /// The secret by which it asks for its token.
    device_code: String,
    /// What it shows to whoever lets it in.
    user_code: String,
    /// Where that is typed.
    verification_uri: String,
    /// The same, with the code.
    verification_uri_complete: String,
    /// Until when somebody may answer.
    expires_at: String,
    /// How many seconds to wait between two questions for the token.
    interval: u32,
}

/// A device that asks for its token.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "DeviceTokenRequest")]
pub(super) struct Asked {
    /// What it was given when it asked to be let in.
    device_code: String,
}

/// Lets a device wait for an answer.
pub(in crate::web) async fn ask(store: &Store, call: &Call, body: &[u8]) -> Result<Reply, Error> {
    let device: Device = document(body)?;
    let new = devices::ask(store, call, device).await?;
    let page = format!("{}/device", store.site.store_origin());
    let user_code = new.user_code.to_string();
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("code", &user_code)
        .finish();
    let mut reply = json(&Told {
        device_code: new.code.expose(),
        user_code,
        verification_uri_complete: format!("{page}?{query}"),
        verification_uri: page,
        expires_at: moment(new.expires_at),
        interval: INTERVAL,
    })?;
    *reply.status_mut() = StatusCode::CREATED;
    Ok(reply)
}

/// Gives a device its token, once it is let in.
pub(in crate::web) async fn claim(store: &Store, body: &[u8]) -> Result<Reply, Error> {
    let Asked { device_code } = document(body)?;
    json(&Made::new(&devices::claim(store, &device_code).await?))
}
