//! `ETag` and `If-Match` (RFC 9110, 13.1.1): which state of an object a change is meant for.

use http::{HeaderMap, HeaderValue, header};
use kube::ResourceExt;

use super::Reply;
use crate::error::Error;

/// The header `If-Match`.
#[derive(Debug, Default)]
pub(super) struct IfMatch(Option<Vec<String>>);

impl IfMatch {
    /// What the request says; any state when it says nothing or `*`.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::IF_MATCH).into_iter();
        let tags: Vec<String> = lines
            .flat_map(|line| line.to_str().unwrap_or_default().split(','))
            .map(|tag| tag.trim().to_owned())
            .collect();
        let any = tags.is_empty() || tags.iter().any(|tag| tag == "*");
        Self((!any).then_some(tags))
    }

    /// # Errors
    /// [`Error::Changed`] when it is meant for something that exists, and nothing does.
    pub(super) fn check_absent(&self) -> Result<(), Error> {
        self.0.as_ref().map_or(Ok(()), |_| Err(Error::Changed))
    }

    /// # Errors
    /// [`Error::Changed`] when it is meant for another state than this.
    pub(super) fn check(&self, object: &impl ResourceExt) -> Result<(), Error> {
        let now = entity_tag(object);
        match &self.0 {
            Some(tags) if !tags.contains(&now) => Err(Error::Changed),
            Some(_) | None => Ok(()),
        }
    }
}

/// Says in an answer which state of the object it tells.
pub(super) fn tag(mut reply: Reply, object: &impl ResourceExt) -> Result<Reply, Error> {
    let tag = HeaderValue::try_from(entity_tag(object));
    let tag = tag.map_err(|error| Error::Internal(Box::new(error)))?;
    reply.headers_mut().insert(header::ETAG, tag);
    Ok(reply)
}

/// Names the state of an object: what the API server counts its changes by.
fn entity_tag(object: &impl ResourceExt) -> String {
    format!("\"{}\"", object.resource_version().unwrap_or_default())
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
