//! `User`: speaks HTTP as browsers do: keeps cookies by host, and follows redirects one by one.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use reqwest::{
    Client, Method, RequestBuilder, Response, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header,
    redirect::Policy,
};

/// Somebody who speaks HTTP to a router, with the cookies that it has set.
pub struct User {
    client: Client,
    address: SocketAddr,
    cookies: HashMap<String, BTreeMap<String, String>>,
}

/// `localhost` and all names below it are this machine, as for browsers.
struct Loopback;

impl Resolve for Loopback {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(std::iter::once(([127, 0, 0, 1], 0).into()));
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

impl User {
    /// Somebody without any cookie.
    pub(crate) fn new(address: SocketAddr) -> Result<Self> {
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Loopback))
            .build()?;
        Ok(Self {
            client,
            address,
            cookies: HashMap::new(),
        })
    }

    /// A request with the cookies that this user has for the host.
    ///
    /// # Errors
    /// `url` is none.
    pub fn request(&self, method: Method, url: &str) -> Result<RequestBuilder> {
        let url: Url = url.parse()?;
        let cookies = url.host_str().and_then(|host| self.cookies.get(host));
        let line = cookies.map(|cookies| {
            let pairs = cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            pairs.collect::<Vec<_>>().join("; ")
        });
        let request = self.client.request(method, url);
        Ok(match line {
            Some(line) if !line.is_empty() => request.header(header::COOKIE, line),
            Some(_) | None => request,
        })
    }

    /// Sends a request and keeps the cookies of its answer.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn send(&mut self, request: RequestBuilder) -> Result<Response> {
        let answer = request.send().await?;
        let host = answer.url().host_str().context("a host")?.to_owned();
        let kept = self.cookies.entry(host).or_default();
        for line in answer.headers().get_all(header::SET_COOKIE) {
            let line = line.to_str()?;
            let pair = line.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').context("a cookie has a value")?;
            if line.contains("Max-Age=0") {
                kept.remove(name);
            } else {
                kept.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(answer)
    }

    /// Opens a page without following redirects.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn open(&mut self, url: &str) -> Result<Response> {
        let request = self
            .request(Method::GET, url)?
            .header(header::ACCEPT, "text/html,*/*;q=0.8");
        self.send(request).await
    }

    /// Opens a page and follows redirects to the end.
    ///
    /// # Errors
    /// Nobody answers, or there is no end.
    pub async fn visit(&mut self, url: &str) -> Result<Response> {
        let mut answer = self.open(url).await?;
        for _ in 0..20 {
            let Some(next) = location(&answer)? else {
                return Ok(answer);
            };
            answer = self.open(&next).await?;
        }
        bail!("too many redirects from {url}")
    }

    /// Sends a form of the store's own pages, as its page does, without following redirects.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Response> {
        let origin = format!("http://localhost:{}", self.address.port());
        let page = if path == "/sign-in" { path } else { "/" };
        let page = self.open(&format!("{origin}{page}")).await?.text().await?;
        // Every form of a page carries the same token.
        let token = page.split_once("name=\"form_token\" value=\"");
        let token = token.and_then(|(_, rest)| rest.split('"').next());
        let mut form = Url::parse("http://form/")?;
        form.query_pairs_mut()
            .append_pair("form_token", token.unwrap_or_default())
            .extend_pairs(fields);
        let request = self
            .request(Method::POST, &format!("{origin}{path}"))?
            .header(header::ACCEPT, "text/html")
            .header(header::ORIGIN, origin)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.query().unwrap_or_default().to_owned());
        self.send(request).await
    }

    /// Signs in with a local account.
    ///
    /// # Errors
    /// The router refuses.
    pub async fn sign_in(&mut self, name: &str, password: &str) -> Result<()> {
        let answer = self
            .submit("/sign-in", &[("name", name), ("password", password)])
            .await?;
        ensure!(
            answer.status() == 303,
            "the sign-in of {name} answers {}",
            answer.status()
        );
        Ok(())
    }

    /// The cookies that this user has for a host, without its port.
    pub fn cookies(&mut self, host: &str) -> &mut BTreeMap<String, String> {
        self.cookies.entry(host.to_owned()).or_default()
    }
}

/// Where an answer leads.
///
/// # Errors
/// It is no address.
pub fn location(answer: &Response) -> Result<Option<String>> {
    let Some(line) = answer.headers().get(header::LOCATION) else {
        return Ok(None);
    };
    Ok(Some(answer.url().join(line.to_str()?)?.to_string()))
}
