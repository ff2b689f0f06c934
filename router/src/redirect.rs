//! Redirects, of the store's pages and of apps' hosts.

use http::{HeaderValue, Response, StatusCode, header};

use crate::error::Error;

/// Sends a browser elsewhere, this time: nothing of it is kept, and other sites do not hear where it came from.
///
/// # Errors
/// The address is none that a header can hold.
pub(crate) fn redirect<B: Default>(
    status: StatusCode,
    location: &str,
) -> Result<Response<B>, Error> {
    let location = HeaderValue::from_str(location)
        .map_err(|_| Error::BadRequest("the address cannot be redirected"))?;
    let mut response = Response::new(B::default());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    );
    Ok(response)
}
