//! One attempt to sign in, bound to its browser.
//!
//! The browser holds a secret in a host-only cookie; tabs that sign in at the same time share it. State, nonce and PKCE
//! verifier of an attempt are made of the secret and of the attempt's own number, so nothing has to be kept here, and an
//! answer of the provider counts in no other browser.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use catalog::TicketId;
use openidconnect::{CsrfToken, Nonce, PkceCodeChallenge, PkceCodeVerifier};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::session::LocalPath;
use crate::session::cookie::BrowserSecret;

/// Longest path that is carried along, in bytes; a longer one leads to the first page.
const MAX_PATH: usize = 1024;

/// Only who holds the secret can make this. Hashed twice, so that nothing can be appended to it.
fn derive(secret: &BrowserSecret, what: &str, of: &str) -> String {
    let inner = Sha256::new()
        .chain_update(what)
        .chain_update([0])
        .chain_update(of)
        .finalize();
    let outer = Sha256::new()
        .chain_update(secret.expose())
        .chain_update(inner)
        .finalize();
    URL_SAFE_NO_PAD.encode(outer)
}

/// One attempt.
pub(crate) struct Attempt {
    /// What the provider gives back as it is.
    pub(super) state: String,
    pub(super) nonce: Nonce,
    verifier: String,
    /// Where the browser goes afterwards.
    pub(crate) next: LocalPath,
}

impl Attempt {
    /// A new one.
    pub(super) fn start(secret: &BrowserSecret, next: LocalPath) -> Result<Self, Error> {
        let number = TicketId::random()?.expose();
        let path = next.to_string();
        let next = if path.len() > MAX_PATH {
            LocalPath::root()
        } else {
            next
        };
        let path = URL_SAFE_NO_PAD.encode(next.to_string());
        let seal = derive(secret, "state", &format!("{number}.{path}"));
        Ok(Self::of(
            secret,
            &number,
            format!("{number}.{path}.{seal}"),
            next,
        ))
    }

    /// The attempt that this state belongs to, if this browser has made it.
    pub(super) fn resume(secret: &BrowserSecret, state: &str) -> Option<Self> {
        let (sealed, seal) = state.rsplit_once('.')?;
        let (number, path) = sealed.split_once('.')?;
        let expected = derive(secret, "state", sealed);
        // Hashes are compared, so that the time it takes tells nothing.
        if Sha256::digest(&expected) != Sha256::digest(seal) {
            return None;
        }
        let path = String::from_utf8(URL_SAFE_NO_PAD.decode(path).ok()?).ok()?;
        let next = LocalPath::or_root(&path);
        Some(Self::of(secret, number, state.to_owned(), next))
    }

    fn of(secret: &BrowserSecret, number: &str, state: String, next: LocalPath) -> Self {
        Self {
            state,
            nonce: Nonce::new(derive(secret, "nonce", number)),
            verifier: derive(secret, "verifier", number),
            next,
        }
    }

    pub(super) fn token(&self) -> CsrfToken {
        CsrfToken::new(self.state.clone())
    }

    pub(super) fn challenge(&self) -> PkceCodeChallenge {
        PkceCodeChallenge::from_code_verifier_sha256(&self.verifier())
    }

    pub(super) fn verifier(&self) -> PkceCodeVerifier {
        PkceCodeVerifier::new(self.verifier.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_belongs_to_its_browser() {
        let browser = BrowserSecret::held_or_new(None).expect("random bytes");
        let other = BrowserSecret::held_or_new(None).expect("random bytes");
        let next: LocalPath = "/visit?host=x".parse().expect("a path");
        let attempt = Attempt::start(&browser, next.clone()).expect("an attempt");
        let same = Attempt::resume(&browser, &attempt.state).expect("its own");
        assert_eq!(same.next, next);
        assert_eq!(same.nonce.secret(), attempt.nonce.secret());
        assert_eq!(same.verifier, attempt.verifier);
        assert!(Attempt::resume(&other, &attempt.state).is_none());

        let second = Attempt::start(&browser, next).expect("an attempt");
        assert_ne!(second.state, attempt.state);
        assert_ne!(second.nonce.secret(), attempt.nonce.secret());
        assert_ne!(second.verifier, attempt.verifier);

        let (sealed, seal) = attempt.state.rsplit_once('.').expect("a seal");
        let (number, _) = sealed.split_once('.').expect("a path");
        let path = URL_SAFE_NO_PAD.encode("/elsewhere");
        for forged in [
            format!("{number}.{path}.{seal}"),
            format!("{sealed}.x.{seal}"),
            format!("{sealed}."),
            String::new(),
            "..".to_owned(),
        ] {
            assert!(Attempt::resume(&browser, &forged).is_none(), "{forged}");
        }
    }

    #[test]
    fn a_path_that_is_too_long_or_foreign_leads_to_the_first_page() {
        let browser = BrowserSecret::held_or_new(None).expect("random bytes");
        let long: LocalPath = format!("/{}", "a".repeat(MAX_PATH))
            .parse()
            .expect("a path");
        let attempt = Attempt::start(&browser, long).expect("an attempt");
        assert_eq!(attempt.next, LocalPath::root());
    }
}
