//! What a request to the API server asks for.

use hyper::Request;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Agent {
    /// The operator itself.
    Operator,
    /// Its Helm, or somebody else's.
    Helm,
    /// Anybody else.
    Other,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Reads one object, or something that is no object.
    Get,
    /// Reads many objects.
    List,
    /// Follows changes.
    Watch,
    /// Makes an object.
    Create,
    /// Replaces an object.
    Update,
    /// Changes an object.
    Patch,
    /// Deletes objects.
    Delete,
}

/// A request to the API server.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Who asks.
    pub agent: Agent,
    /// What for.
    pub verb: Verb,
    /// Path of the URL.
    pub path: String,
}

impl Verb {
    /// Whether this changes what the API server has.
    #[must_use]
    pub fn writes(self) -> bool {
        match self {
            Self::Get | Self::List | Self::Watch => false,
            Self::Create | Self::Update | Self::Patch | Self::Delete => true,
        }
    }
}

impl Asked {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let path = request.uri().path();
        let query = request.uri().query().unwrap_or_default();
        let watches = query
            .split('&')
            .any(|pair| pair == "watch=true" || pair == "watch=1");
        let verb = match request.method().as_str() {
            "POST" => Verb::Create,
            "PUT" => Verb::Update,
            "PATCH" => Verb::Patch,
            "DELETE" => Verb::Delete,
            _ if watches => Verb::Watch,
            _ if is_collection(path) => Verb::List,
            _ => Verb::Get,
        };
        let agent = request.headers().get(http::header::USER_AGENT);
        let agent = agent.and_then(|agent| agent.to_str().ok());
        Self {
            agent: match agent {
                // kube-rs does not name itself.
                None => Agent::Operator,
                Some(agent) if agent.starts_with("wavestore-operator") => Agent::Operator,
                Some(agent) if agent.to_ascii_lowercase().starts_with("helm") => Agent::Helm,
                Some(_) => Agent::Other,
            },
            verb,
            path: path.to_owned(),
        }
    }

    /// What a list that may be answered from memory is remembered by: the first page of one that a cache is filled from.
    /// Lists without a bound are questions that must be answered from the newest state.
    pub(super) fn list_key<B>(&self, request: &Request<B>) -> Option<String> {
        let query = request.uri().query().unwrap_or_default();
        let fills_cache = query.contains("limit=") && !query.contains("continue=");
        (self.verb == Verb::List && fills_cache).then(|| {
            let header = |name| request.headers().get(name);
            format!(
                "{} {:?} {:?}",
                request.uri(),
                header(http::header::ACCEPT),
                header(http::header::ACCEPT_ENCODING)
            )
        })
    }
}

/// Whether the path is one of many objects, such as `/apis/apps/v1/namespaces/x/deployments`.
fn is_collection(path: &str) -> bool {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let versions = match parts.next() {
        Some("api") => 1,
        Some("apis") => 2,
        _ => return false,
    };
    let rest: Vec<&str> = parts.skip(versions).collect();
    matches!(rest.as_slice(), ["namespaces", _, _] | [_])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_told_from_the_path() {
        let cases = [
            ("GET", "/api/v1/namespaces/x/secrets?limit=500", Verb::List),
            ("GET", "/api/v1/namespaces/x/secrets/y", Verb::Get),
            ("GET", "/api/v1/namespaces/x", Verb::Get),
            ("GET", "/apis/apps/v1/deployments?watch=true", Verb::Watch),
            ("GET", "/apis/apps/v1/deployments", Verb::List),
            ("GET", "/apis/apps/v1", Verb::Get),
            ("GET", "/openapi/v3", Verb::Get),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/x/deployments/y",
                Verb::Patch,
            ),
            ("DELETE", "/api/v1/namespaces/x/secrets/y", Verb::Delete),
        ];
        for (method, uri, expected) in cases {
            let request = Request::builder().method(method).uri(uri).body(()).unwrap();
            assert_eq!(Asked::of(&request).verb, expected, "{method} {uri}");
        }
    }
}
