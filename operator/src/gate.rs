//! The door between us and the API server: it lets no write out of a process that does not lead.
//!
//! Controllers start when a process begins to lead, and end with it. The door holds where that is not enough: in a
//! process that wakes from a long sleep in the middle of a reconciliation.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::TryFutureExt;
use futures::future::{Either, ErrInto, Ready, ready};
use hyper::{Method, Request};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::{BoxError, Layer, Service};

use crate::lease::Leadership;

/// What a write meets in a process that does not lead.
#[derive(Debug, thiserror::Error)]
#[error("this operator does not lead, so it writes nothing")]
struct NotLeading;

/// A client that reads whenever, and writes only while this process leads.
pub(crate) fn client(config: Config, leadership: Arc<Leadership>) -> Result<Client, kube::Error> {
    let builder = ClientBuilder::try_from(config)?;
    Ok(builder.with_layer(&GateLayer(leadership)).build())
}

struct GateLayer(Arc<Leadership>);

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate {
            inner,
            leadership: self.0.clone(),
        }
    }
}

struct Gate<S> {
    inner: S,
    leadership: Arc<Leadership>,
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Either<ErrInto<S::Future, BoxError>, Ready<Result<S::Response, BoxError>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.method() == Method::GET || self.leadership.holds() {
            Either::Left(self.inner.call(request).err_into())
        } else {
            Either::Right(ready(Err(NotLeading.into())))
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use kube::api::PostParams;

    use super::*;
    use crate::fake_api;

    #[tokio::test]
    async fn who_stands_by_reads_and_does_not_write() {
        let (url, log) = fake_api::serve(|_| None).await;
        let cases = [
            ("standby", Leadership::default(), 1),
            ("leader", Leadership::for_tests(), 3),
        ];
        for (name, leadership, asked) in cases {
            let client = client(Config::new(url.clone()), Arc::new(leadership)).expect("a client");
            let api: Api<ConfigMap> = Api::namespaced(client, "wavestore");
            let found = api.get_opt("sales").await.expect("an answer");
            assert_eq!(found, None, "{name}");
            let written = api
                .create(&PostParams::default(), &ConfigMap::default())
                .await;
            assert!(written.is_err(), "{name}");
            assert_eq!(log.lock().len(), asked, "{name}");
        }
    }
}
