//! `Browser`: keeps cookies by host and follows redirects one by one, as browsers do.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{self, HeaderMap};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, http};
use tokio_tungstenite::{WebSocketStream, client_async};

/// Every name leads to one address.
struct Everywhere(SocketAddr);

impl Resolve for Everywhere {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(std::iter::once(self.0));
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

pub(super) struct Browser {
    client: Client,
    address: SocketAddr,
    cookies: HashMap<String, BTreeMap<String, String>>,
}

impl Browser {
    pub(super) fn new(address: SocketAddr) -> Self {
        // A second install fails, and that is fine.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Everywhere(address)))
            .build()
            .expect("a client");
        Self {
            client,
            address,
            cookies: HashMap::new(),
        }
    }

    /// A request with this browser's cookies for the host.
    pub(super) fn request(&self, method: Method, url: &str) -> RequestBuilder {
        let url: Url = url.parse().expect("a url");
        let request = self.client.request(method, url.clone());
        match self.cookie_line(&url) {
            Some(line) => request.header(header::COOKIE, line),
            None => request,
        }
    }

    /// Opens a page without following redirects.
    pub(super) async fn open(&mut self, url: &str) -> Response {
        let request = self
            .request(Method::GET, url)
            .header(header::ACCEPT, "text/html,*/*;q=0.8");
        self.send(request).await
    }

    /// Opens a page and follows redirects to the end.
    pub(super) async fn visit(&mut self, url: &str) -> Response {
        let mut answer = self.open(url).await;
        for _ in 0..10 {
            let Some(next) = location(&answer) else {
                return answer;
            };
            answer = self.open(&next).await;
        }
        panic!("too many redirects from {url}");
    }

    /// Sends a request and keeps the cookies of its answer.
    pub(super) async fn send(&mut self, request: RequestBuilder) -> Response {
        let answer = request.send().await.expect("an answer");
        let host = answer.url().host_str().expect("a host").to_owned();
        self.keep(&host, answer.headers());
        answer
    }

    pub(super) async fn sign_in(&mut self, name: &str, password: &str) -> Response {
        self.submit("/sign-in", &[("name", name), ("password", password)])
            .await
    }

    /// The token in the forms of the page that this browser sees at `path` of the store's host; none where it has no form.
    pub(super) async fn form_token(&mut self, path: &str) -> Option<String> {
        let url = format!("http://store.test:{}{path}", self.address.port());
        let page = self.open(&url).await.text().await.expect("a page");
        let (_, rest) = page.split_once("name=\"form_token\" value=\"")?;
        Some(rest.split('"').next().unwrap_or_default().to_owned())
    }

    /// Sends a form of the store's own pages, as they do.
    pub(super) async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        let page = if path == "/sign-in" { path } else { "/" };
        let token = self.form_token(page).await.unwrap_or_default();
        let token = ("form_token", token.as_str());
        self.post(path, &[&[token], fields].concat()).await
    }

    /// Sends a form from an own page, with these fields and no others.
    pub(super) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        let origin = format!("http://store.test:{}", self.address.port());
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = self
            .request(Method::POST, &format!("{origin}{path}"))
            .header(header::ACCEPT, "text/html")
            .header(header::ORIGIN, origin)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        self.send(request).await
    }

    /// Opens a WebSocket; the error is the answer's status.
    pub(super) async fn socket(
        &self,
        url: &str,
        lines: &[(&'static str, &str)],
    ) -> Result<WebSocketStream<TcpStream>, u16> {
        let parsed: Url = url.parse().expect("a url");
        let mut request = url
            .replacen("http://", "ws://", 1)
            .into_client_request()
            .expect("a request");
        let cookie = self.cookie_line(&parsed);
        let cookie = cookie.as_deref().map(|line| ("cookie", line));
        for (name, value) in lines.iter().copied().chain(cookie) {
            let value = http::HeaderValue::from_str(value).expect("a value");
            request.headers_mut().insert(name, value);
        }
        let stream = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("no answer to the upgrade: {error}"),
        }
    }

    /// The cookies of a host.
    pub(super) fn cookies(&mut self, host: &str) -> &mut BTreeMap<String, String> {
        self.cookies.entry(host.to_owned()).or_default()
    }

    fn cookie_line(&self, url: &Url) -> Option<String> {
        let cookies = self.cookies.get(url.host_str()?)?;
        let pairs: Vec<String> = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    fn keep(&mut self, host: &str, headers: &HeaderMap) {
        for line in headers.get_all(header::SET_COOKIE) {
            let line = line.to_str().expect("text");
            let (name, rest) = line.split_once('=').expect("a cookie");
            let value = rest.split(';').next().unwrap_or_default();
            if line.contains("Max-Age=0") {
                self.cookies(host).remove(name);
            } else {
                self.cookies(host).insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// Where an answer redirects to, as an absolute address.
pub(super) fn location(answer: &Response) -> Option<String> {
    if !answer.status().is_redirection() {
        return None;
    }
    let location = answer
        .headers()
        .get(header::LOCATION)?
        .to_str()
        .expect("text");
    Some(
        answer
            .url()
            .join(location)
            .expect("a redirect's address")
            .to_string(),
    )
}
