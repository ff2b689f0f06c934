//! Which apps an address asks for, of the first page and of the API alike.

use catalog::AppQuery;

use super::Call;
use crate::error::Error;

/// Reads what the parameters of an address ask for that a form of ours has made: fields that are empty ask for nothing.
pub(super) fn of_form(call: &Call) -> Result<AppQuery, Error> {
    read(|name| call.parameter(name).filter(|value| !value.is_empty()))
}

/// Reads what the parameters of an address ask for.
pub(super) fn of_program(call: &Call) -> Result<AppQuery, Error> {
    read(|name| call.parameter(name))
}

fn read(parameter: impl Fn(&str) -> Option<String>) -> Result<AppQuery, Error> {
    let lifecycle = parameter("lifecycle").map(|lifecycle| lifecycle.parse());
    let after = parameter("after").map(|after| after.parse());
    Ok(AppQuery {
        text: parameter("q").unwrap_or_default(),
        owner: parameter("owner"),
        lifecycle: lifecycle
            .transpose()
            .map_err(|_| Error::BadRequest("`lifecycle` is OnDemand, Managed or Link"))?,
        tag: parameter("tag"),
        after: after.transpose().map_err(|_| {
            Error::BadRequest("`after` is no place in the list of apps: follow `next`")
        })?,
    })
}

/// Whether all apps are asked for, from the first one on.
pub(super) fn is_for_all(query: &AppQuery) -> bool {
    let AppQuery {
        text,
        owner,
        lifecycle,
        tag,
        after,
    } = query;
    let is_filtered = owner.is_some() || lifecycle.is_some() || tag.is_some();
    text.trim().is_empty() && !is_filtered && after.is_none()
}

/// What asks for the same apps, wherever in their list.
pub(super) fn asked(query: &AppQuery) -> [(&'static str, Option<&str>); 4] {
    let AppQuery {
        text,
        owner,
        lifecycle,
        tag,
        after: _,
    } = query;
    [
        ("q", Some(text.as_str()).filter(|text| !text.is_empty())),
        ("owner", owner.as_deref()),
        ("lifecycle", lifecycle.map(Into::into)),
        ("tag", tag.as_deref()),
    ]
}
