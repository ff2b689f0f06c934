//! W3C trace context: one that is well formed is passed on as it is, another is made anew.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Longest `tracestate` that must be passed on, in bytes, and the most members that one may have.
const MAX_STATE: usize = 512;
const MAX_MEMBERS: usize = 32;

/// Id of a trace: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceId([u8; 32]);

impl TraceId {
    /// For a request that belongs to none.
    pub(crate) const NONE: Self = Self([b'0'; 32]);

    /// Its digits.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Leaves a good context in `headers`, and answers the id of its trace. We make no spans, so the caller's is the parent of
/// what the app does.
pub(crate) fn settle(headers: &mut HeaderMap) -> TraceId {
    let mut lines = headers.get_all(TRACEPARENT).iter();
    let given = match (lines.next(), lines.next()) {
        (Some(line), None) => parse(line.as_bytes()),
        (None | Some(_), _) => None,
    };
    if let Some(id) = given {
        if !state_is_good(headers) {
            headers.remove(TRACESTATE);
        }
        return id;
    }
    headers.remove(TRACESTATE);
    let (id, line) = fresh();
    headers.insert(TRACEPARENT, line);
    id
}

/// Reads `version-trace-parent-flags`. Versions after ours may say more behind what we know.
fn parse(line: &[u8]) -> Option<TraceId> {
    let known: &[u8; 55] = line.first_chunk()?;
    let rest = &line[known.len()..];
    let digits = |range: std::ops::Range<usize>| {
        let part = &known[range];
        part.iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            .then_some(part)
    };
    let zeros = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
    let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
    let version = digits(0..2)?;
    let (trace, parent) = (digits(3..35)?, digits(36..52)?);
    digits(53..55)?;
    let ends = rest.is_empty() || (version != b"00" && rest.starts_with(b"-"));
    let good = dashes && ends && version != b"ff" && !zeros(trace) && !zeros(parent);
    good.then(|| trace.try_into().map(TraceId).ok()).flatten()
}

fn state_is_good(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(TRACESTATE);
    let length: usize = lines.iter().map(HeaderValue::len).sum();
    let members = lines
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .count();
    length <= MAX_STATE && members <= MAX_MEMBERS
}

/// A trace of its own. Nobody records it here, so it is not sampled.
fn fresh() -> (TraceId, HeaderValue) {
    let mut line = *b"00-00000000000000000000000000000000-0000000000000000-00";
    // Neither may be zero.
    write_hex(&mut line[3..35], fastrand::u128(1..));
    write_hex(&mut line[36..52], fastrand::u64(1..).into());
    let mut id = TraceId::NONE;
    id.0.copy_from_slice(&line[3..35]);
    let line = HeaderValue::from_bytes(&line).expect("digits and dashes are a header value");
    (id, line)
}

/// Fills `place` with the last digits of `number`.
pub(crate) fn write_hex(place: &mut [u8], mut number: u128) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in place.iter_mut().rev() {
        *byte = DIGITS[(number & 0xf) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn headers(parents: &[&str], state: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append(TRACEPARENT, parent.parse().expect("a value"));
        }
        if let Some(state) = state {
            headers.append(TRACESTATE, state.parse().expect("a value"));
        }
        headers
    }

    #[test]
    fn a_good_context_passes_as_it_is() {
        let long = "x=".to_owned() + &"1".repeat(MAX_STATE);
        let members = vec!["a=1"; MAX_MEMBERS + 1].join(",");
        for parent in [
            format!("00-{TRACE}-00f067aa0ba902b7-01"),
            format!("cc-{TRACE}-00f067aa0ba902b7-01-more"),
        ] {
            for (state, kept) in [("a=1,b=2", true), (&long, false), (&members, false)] {
                let given = headers(&[&parent], Some(state));
                let mut settled = given.clone();
                assert_eq!(settle(&mut settled).as_str(), TRACE);
                assert_eq!(settled[TRACEPARENT], parent);
                assert_eq!(settled.contains_key(TRACESTATE), kept, "{state}");
            }
        }
    }

    #[test]
    fn any_other_context_is_made_anew() {
        let good = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let zeros = "0".repeat(32);
        let cases: [(&str, Vec<String>); 11] = [
            ("none", vec![]),
            ("two", vec![good.clone(), good.clone()]),
            ("an empty one", vec![String::new()]),
            ("capitals", vec![good.to_uppercase()]),
            ("too short", vec![good[..54].to_owned()]),
            ("too long", vec![format!("{good}-more")]),
            (
                "the version that is none",
                vec![good.replacen("00", "ff", 1)],
            ),
            ("no trace", vec![format!("00-{zeros}-00f067aa0ba902b7-01")]),
            ("no parent", vec![format!("00-{TRACE}-0000000000000000-01")]),
            ("other dashes", vec![good.replace('-', "_")]),
            ("no digits", vec![good.replace('4', "g")]),
        ];
        for (name, parents) in cases {
            let parents: Vec<&str> = parents.iter().map(String::as_str).collect();
            let mut settled = headers(&parents, Some("a=1"));
            let id = settle(&mut settled);
            assert!(!settled.contains_key(TRACESTATE), "{name}");
            let lines: Vec<_> = settled.get_all(TRACEPARENT).iter().collect();
            assert_eq!(lines.len(), 1, "{name}");
            assert_eq!(parse(lines[0].as_bytes()), Some(id), "{name}");
            assert_ne!(id.as_str(), TRACE, "{name}");
        }
    }
}
