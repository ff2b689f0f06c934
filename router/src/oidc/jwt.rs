//! Tokens that the provider has signed, other than the ID token of a sign-in: access tokens and logout tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::JsonWebKey;
use openidconnect::core::{CoreJsonWebKey, CoreJwsSigningAlgorithm as Algorithm};
use serde::Deserialize;
use serde_json::Value;

/// Longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// Keys that are tried when a token names none.
const MAX_KEYS: usize = 8;

/// How far the provider's clock may be from ours.
const LEEWAY: TimeDelta = TimeDelta::seconds(30);

/// The algorithms that count: signatures by a key that only the provider has. `none` and those with a shared secret are
/// not among them.
pub(super) const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RsaSsaPkcs1V15Sha256,
    Algorithm::RsaSsaPkcs1V15Sha384,
    Algorithm::RsaSsaPkcs1V15Sha512,
    Algorithm::RsaSsaPssSha256,
    Algorithm::RsaSsaPssSha384,
    Algorithm::RsaSsaPssSha512,
    Algorithm::EcdsaP256Sha256,
    Algorithm::EcdsaP384Sha384,
    Algorithm::EdDsa,
];

/// Why a token does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// No JWT, or one of a kind that is not meant here.
    #[error("the token is not well formed")]
    Malformed,
    /// `none`, a shared secret, or something unheard of.
    #[error("the token's algorithm is not allowed")]
    Algorithm,
    /// The provider has no such key, as far as we know.
    #[error("the token is signed with a key that the provider does not have")]
    UnknownKey,
    /// Forged or damaged.
    #[error("the token's signature is wrong")]
    Signature,
    /// Another provider's.
    #[error("the token is of another issuer")]
    Issuer,
    /// For somebody else.
    #[error("the token is not meant for this store")]
    Audience,
    /// Too late or too early.
    #[error("the token has expired, or is not good yet")]
    Time,
    /// A claim is missing, or there is one that must not be.
    #[error("the token lacks a claim, or has one that it must not have")]
    Claims,
}

#[derive(Deserialize)]
struct Header {
    alg: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
    cty: Option<String>,
}

/// Reads the claims of a token that one of `keys` has signed, whose header has one of these types or none.
pub(super) fn signed_claims(
    keys: &[CoreJsonWebKey],
    types: &[&str],
    token: &str,
) -> Result<Value, Refused> {
    if token.len() > MAX_TOKEN {
        return Err(Refused::Malformed);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(Refused::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(Refused::Malformed)?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Malformed);
    let header = decode(header)?;
    // An algorithm without a name of its own here is none that counts.
    let header: Header = serde_json::from_slice(&header).map_err(|_| Refused::Algorithm)?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(Refused::Algorithm);
    }
    let kind = header.typ.map(|kind| kind.to_ascii_lowercase());
    let kind = kind
        .as_deref()
        .map(|kind| kind.strip_prefix("application/").unwrap_or(kind));
    let meant = kind.is_none_or(|kind| kind == "jwt" || types.contains(&kind));
    if !meant || header.crit.is_some() || header.cty.is_some() {
        return Err(Refused::Malformed);
    }
    let signature = decode(signature)?;
    let mut tried = 0;
    for key in keys {
        let named = header
            .kid
            .as_deref()
            .is_none_or(|kid| key.key_id().is_some_and(|known| known.as_str() == kid));
        if !named || tried == MAX_KEYS {
            continue;
        }
        tried += 1;
        if key
            .verify_signature(&header.alg, message.as_bytes(), &signature)
            .is_ok()
        {
            let payload = decode(payload)?;
            return serde_json::from_slice(&payload).map_err(|_| Refused::Malformed);
        }
    }
    Err(if tried == 0 {
        Refused::UnknownKey
    } else {
        Refused::Signature
    })
}

/// Checks who made a token, for whom, and when it is good; answers when it ends, if it says so.
pub(super) fn check(
    claims: &Value,
    issuer: &str,
    audience: &str,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, Refused> {
    if claims.get("iss").and_then(Value::as_str) != Some(issuer) {
        return Err(Refused::Issuer);
    }
    let meant = match claims.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(several)) => several.iter().any(|one| one == audience),
        Some(_) | None => false,
    };
    if !meant {
        return Err(Refused::Audience);
    }
    let expires_at = time(claims, "exp")?;
    let begun = |at: Option<DateTime<Utc>>| at.is_none_or(|at| at - LEEWAY <= now);
    let over = expires_at.is_some_and(|at| now >= at + LEEWAY);
    if over || !begun(time(claims, "nbf")?) || !begun(time(claims, "iat")?) {
        return Err(Refused::Time);
    }
    Ok(expires_at)
}

/// The moment in a claim, if it is there.
pub(super) fn time(claims: &Value, name: &str) -> Result<Option<DateTime<Utc>>, Refused> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "seconds may have a fraction, which does not count; out of range saturates and is no date"
    )]
    let seconds = value
        .as_i64()
        .or_else(|| value.as_f64().map(|seconds| seconds as i64));
    let moment = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    // What is added to it later must stay a date.
    let year = TimeDelta::days(366);
    moment
        .filter(|at| at.checked_add_signed(year).is_some() && at.checked_sub_signed(year).is_some())
        .map(Some)
        .ok_or(Refused::Time)
}

/// The text in a claim, if it is there and is one.
pub(super) fn text<'a>(claims: &'a Value, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_are_checked() {
        let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().expect("a time");
        let at = |seconds: i64| now.timestamp() + seconds;
        let good = json!({ "iss": "i", "aud": "a", "exp": at(60), "nbf": at(-60), "iat": at(-60) });
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            claims
        };
        let cases = [
            ("good", good.clone(), Ok(())),
            ("several audiences", with("aud", json!(["b", "a"])), Ok(())),
            (
                "a fraction of a second",
                with("exp", json!(12e9 + 0.5)),
                Ok(()),
            ),
            ("clocks that differ", with("exp", json!(at(-20))), Ok(())),
            ("expired", with("exp", json!(at(-31))), Err(Refused::Time)),
            ("not yet", with("nbf", json!(at(31))), Err(Refused::Time)),
            (
                "made in the future",
                with("iat", json!(at(31))),
                Err(Refused::Time),
            ),
            ("no moment", with("exp", json!("soon")), Err(Refused::Time)),
            (
                "beyond all time",
                with("exp", json!(1e300)),
                Err(Refused::Time),
            ),
            (
                "another issuer",
                with("iss", json!("j")),
                Err(Refused::Issuer),
            ),
            (
                "its issuer as a list",
                with("iss", json!(["i"])),
                Err(Refused::Issuer),
            ),
            (
                "another audience",
                with("aud", json!("b")),
                Err(Refused::Audience),
            ),
            (
                "no audience",
                with("aud", Value::Null),
                Err(Refused::Audience),
            ),
        ];
        for (name, claims, expected) in cases {
            let found = check(&claims, "i", "a", now).map(|_| ());
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn what_nobody_has_signed_does_not_count() {
        let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let token = |header: Value| format!("{}.{}.AAAA", encode(header), encode(json!({})));
        let cases = [
            ("no token", "x".to_owned(), Refused::Malformed),
            (
                "unsigned",
                token(json!({ "alg": "none" })),
                Refused::Algorithm,
            ),
            (
                "unsigned, in another case",
                token(json!({ "alg": "nOnE" })),
                Refused::Algorithm,
            ),
            (
                "a shared secret",
                token(json!({ "alg": "HS256" })),
                Refused::Algorithm,
            ),
            ("no algorithm", token(json!({})), Refused::Algorithm),
            (
                "no key",
                token(json!({ "alg": "RS256" })),
                Refused::UnknownKey,
            ),
            (
                "another kind",
                token(json!({ "alg": "RS256", "typ": "logout+jwt" })),
                Refused::Malformed,
            ),
            (
                "a header that must be understood",
                token(json!({ "alg": "RS256", "crit": ["x"] })),
                Refused::Malformed,
            ),
            ("endless", "a.".repeat(MAX_TOKEN), Refused::Malformed),
        ];
        for (name, token, expected) in cases {
            assert_eq!(
                signed_claims(&[], &["at+jwt"], &token),
                Err(expected),
                "{name}"
            );
        }
    }
}
