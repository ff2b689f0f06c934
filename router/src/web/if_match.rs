//! `ETag` and `If-Match` (RFC 9110, 13.1.1): which state of an object a change is meant for.

use http::{HeaderMap, HeaderValue, header};
use kube::ResourceExt;
use serde_json::Value;

use super::Reply;
use crate::error::Error;

/// The header `If-Match`, or what a form says in its place.
#[derive(Debug, Default)]
pub(super) enum IfMatch {
    /// Nothing is said: any state will do, and none.
    #[default]
    Any,
    /// One of these.
    Tags(Vec<String>),
    /// What is to be made must not be there.
    Absent,
}

impl IfMatch {
    /// What the request says; any state when it says nothing or `*`.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::IF_MATCH).into_iter();
        let tags: Vec<String> = lines
            .flat_map(|line| line.to_str().unwrap_or_default().split(','))
            .map(|tag| tag.trim().to_owned())
            .collect();
        let any = tags.is_empty() || tags.iter().any(|tag| tag == "*");
        if any { Self::Any } else { Self::Tags(tags) }
    }

    /// This state alone.
    pub(super) fn state(state: &str) -> Self {
        Self::Tags(vec![quoted(state)])
    }

    /// # Errors
    /// [`Error::Changed`] when it is meant for something that exists, and nothing does.
    pub(super) fn check_absent(&self) -> Result<(), Error> {
        match self {
            Self::Any | Self::Absent => Ok(()),
            Self::Tags(_) => Err(Error::Changed),
        }
    }

    /// # Errors
    /// [`Error::Changed`] when it is meant for another state than this.
    pub(super) fn check(&self, object: &impl ResourceExt) -> Result<(), Error> {
        self.check_state(&state_of(object))
    }

    /// # Errors
    /// The same, of what is no object of Kubernetes.
    pub(super) fn check_state(&self, state: &str) -> Result<(), Error> {
        match self {
            Self::Any => Ok(()),
            Self::Tags(tags) if tags.contains(&quoted(state)) => Ok(()),
            Self::Tags(_) | Self::Absent => Err(Error::Changed),
        }
    }
}

/// Says in an answer which state of the object it tells.
pub(super) fn tag(reply: Reply, object: &impl ResourceExt) -> Result<Reply, Error> {
    tag_as(reply, &state_of(object))
}

/// The same of what is no object of Kubernetes.
pub(super) fn tag_as(mut reply: Reply, state: &str) -> Result<Reply, Error> {
    let tag = HeaderValue::try_from(quoted(state));
    let tag = tag.map_err(|error| Error::Internal(Box::new(error)))?;
    reply.headers_mut().insert(header::ETAG, tag);
    Ok(reply)
}

/// Names a state by all that it is: the same for the same content. For what nobody counts the changes of.
pub(super) fn state_by_content(content: &Value) -> String {
    let digest = catalog::Digest::of(content.to_string().as_bytes());
    digest.hex()[..16].to_owned()
}

/// Names the state of an object: what the API server counts its changes by.
fn state_of(object: &impl ResourceExt) -> String {
    object.resource_version().unwrap_or_default()
}

fn quoted(state: &str) -> String {
    format!("\"{state}\"")
}

#[cfg(test)]
mod tests {
    use crds::{WaveAlias, WaveAliasSpec};

    use super::*;

    #[test]
    fn a_change_is_for_the_state_that_it_names() {
        let spec = WaveAliasSpec {
            instance: "sales".to_owned(),
            primary: false,
            host: None,
        };
        let mut object = WaveAlias::new("crm", spec);
        object.metadata.resource_version = Some("7".to_owned());
        let cases: [(&[&'static str], bool); 8] = [
            (&[], true),
            (&["*"], true),
            (&["\"7\""], true),
            (&["\"6\", \"7\""], true),
            (&["\"6\"", "\"7\""], true),
            (&["\"6\""], false),
            (&["W/\"7\""], false),
            (&["7"], false),
        ];
        for (lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::IF_MATCH, HeaderValue::from_static(line));
            }
            let matches = IfMatch::of(&headers).check(&object).is_ok();
            assert_eq!(matches, expected, "{lines:?}");
        }
    }
}
