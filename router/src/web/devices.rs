//! Letting devices in that have no browser (RFC 8628): a terminal shows a code, and somebody who is signed in says on a page
//! that it is theirs.

use catalog::{DeviceAnswer, DeviceCode, NewDevice, NewToken, Scope, Thing, UserCode};
use chrono::{TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::timeout;

use super::tokens::{self, Wanted};
use super::{Call, PATIENCE, Store, Visitor};
use crate::error::Error;

/// How long somebody has to answer.
const LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// For how many days a device that was let in stays so.
pub(super) const DAYS: u16 = 90;

/// Longest name of a device, in characters: a token is called by it and by the time.
const MAX_NAME: usize = 40;

/// A device that asks to be let in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Device")]
pub(super) struct Device {
    /// What it is, for whoever lets it in: `wavestore on laptop`.
    #[schemars(
        length(min = 1, max = 40),
        regex(pattern = r"^[^\x00-\x20\x7f-\x9f]+( [^\x00-\x20\x7f-\x9f]+)*$")
    )]
    pub device: String,
}

/// Lets a device wait for somebody's answer.
pub(super) async fn ask(store: &Store, call: &Call, device: Device) -> Result<NewDevice, Error> {
    store.sign_in.attempt(call.asked.peer)?;
    let Device { device } = device;
    let is_line = !device.chars().any(char::is_control) && device.trim() == device;
    if device.is_empty() || device.chars().count() > MAX_NAME || !is_line {
        return Err(Error::BadRequest(
            "a device needs a name of 1 to 40 characters, in one line",
        ));
    }
    let now = Utc::now();
    let new = NewDevice {
        code: DeviceCode::random()?,
        user_code: UserCode::random()?,
        device,
        expires_at: now + LIFETIME,
    };
    if timeout(PATIENCE, store.catalog.create_device(&new, now)).await?? {
        Ok(new)
    } else {
        Err(Error::Busy)
    }
}

/// What the device says it is that waits with this code.
pub(super) async fn waiting(store: &Store, code: &UserCode) -> Result<String, Error> {
    let device = timeout(PATIENCE, store.catalog.device(code, Utc::now())).await??;
    device.ok_or(Error::NoDevice)
}

/// Says that the device which waits with this code is the visitor's, or nobody's.
pub(super) async fn answer(
    store: &Store,
    visitor: &Visitor,
    code: &UserCode,
    is_mine: bool,
) -> Result<(), Error> {
    let name = &visitor.signed_in()?.viewer.name;
    let device = waiting(store, code).await?;
    let account = is_mine.then_some(&**name);
    let answer = store.catalog.answer_device(code, account, Utc::now());
    if !timeout(PATIENCE, answer).await?? {
        return Err(Error::NoDevice);
    }
    let done = if is_mine {
        format!("let the device {device:?} in")
    } else {
        format!("refused the device {device:?}")
    };
    visitor.did(store, (Thing::Account, name), &done).await
}

/// The token of a device that was let in, which is made now.
pub(super) async fn claim(store: &Store, code: &str) -> Result<NewToken, Error> {
    let code = code.parse::<DeviceCode>();
    let code = code.map_err(|_| Error::DeviceCodeExpired)?;
    let now = Utc::now();
    let answer = store.catalog.claim_device(&code, now);
    let (account, device) = match timeout(PATIENCE, answer).await?? {
        DeviceAnswer::Granted { account, device } => (account, device),
        DeviceAnswer::Pending => return Err(Error::AuthorizationPending),
        DeviceAnswer::Denied => return Err(Error::AuthorizationDenied),
        DeviceAnswer::Gone => return Err(Error::DeviceCodeExpired),
    };
    let wanted = Wanted {
        name: &format!("{device} {}", now.format("%Y-%m-%d %H:%M:%S")),
        scopes: [Scope::Store].into(),
        days: DAYS,
    };
    tokens::make(store, &account, wanted).await
}
