//! Sessions of people who signed in at a provider, and what may be used once.

use chrono::TimeDelta;

use super::database::TestDatabase;
use super::sessions::{create, sign_in};
use super::{noon, on_both_databases, sign_up};
use crate::{Catalog, Error, ProviderSession, Role, SessionKey, Subject};

const ISSUER: &str = "https://login.example.com";

on_both_databases!(
    a_session_remembers_its_provider,
    a_provider_ends_the_sessions_that_it_names_and_no_others,
    what_may_be_used_once_is_used_once,
);

async fn signed_in_at(
    catalog: &Catalog,
    issuer: &str,
    subject: &str,
    sid: Option<&str>,
) -> SessionKey {
    let key = create(catalog, sign_in()).await;
    let provider = ProviderSession {
        subject: Subject {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
        },
        sid: sid.map(str::to_owned),
        id_token: "header.payload.signature".to_owned(),
    };
    catalog
        .note_provider_session(&key, &provider)
        .await
        .expect("note");
    key
}

async fn a_session_remembers_its_provider(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    let local = create(&catalog, sign_in()).await;
    assert_eq!(catalog.provider_session(&local).await.expect("read"), None);
    let key = signed_in_at(&catalog, ISSUER, "1", Some("s")).await;
    let session = catalog.provider_session(&key).await.expect("read");
    let session = session.expect("it is noted");
    assert_eq!(session.subject.subject, "1");
    assert_eq!(session.id_token, "header.payload.signature");
    catalog.end_session(&key).await.expect("end");
    assert_eq!(catalog.provider_session(&key).await.expect("read"), None);
    let gone = catalog.note_provider_session(&key, &session).await;
    assert!(matches!(gone, Err(Error::SessionGone)), "{gone:?}");
}

async fn a_provider_ends_the_sessions_that_it_names_and_no_others(database: TestDatabase) {
    let other = "https://other.example.com";
    // Of these, in this order: subject 1 with session a, 1 with b, 1 with none, 2 with a, 1 with a elsewhere.
    let cases = [
        ("nothing named", None, None, [true; 5]),
        (
            "a session",
            None,
            Some("a"),
            [false, true, true, false, true],
        ),
        (
            "a subject",
            Some("1"),
            None,
            [false, false, false, true, true],
        ),
        (
            "both",
            Some("1"),
            Some("a"),
            [false, true, true, true, true],
        ),
        ("an unknown one", Some("3"), None, [true; 5]),
    ];
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    let local = create(&catalog, sign_in()).await;
    for (name, subject, sid, stay) in cases {
        let keys = [
            signed_in_at(&catalog, ISSUER, "1", Some("a")).await,
            signed_in_at(&catalog, ISSUER, "1", Some("b")).await,
            signed_in_at(&catalog, ISSUER, "1", None).await,
            signed_in_at(&catalog, ISSUER, "2", Some("a")).await,
            signed_in_at(&catalog, other, "1", Some("a")).await,
        ];
        let ended = catalog.end_provider_sessions(ISSUER, subject, sid).await;
        let expected = stay.iter().filter(|stays| !**stays).count();
        assert_eq!(ended.expect("end"), expected as u64, "{name}");
        for (key, stays) in keys.iter().zip(stay) {
            let session = catalog.session(key, noon()).await.expect("read");
            assert_eq!(session.is_some(), stays, "{name}");
            catalog.end_session(key).await.expect("end");
        }
        let session = catalog.session(&local, noon()).await.expect("read");
        assert!(session.is_some(), "{name}: a local session ended");
    }
}

async fn what_may_be_used_once_is_used_once(database: TestDatabase) {
    let catalog = database.open().await;
    let until = noon() + TimeDelta::minutes(2);
    assert!(catalog.spend("a", until).await.expect("spend"));
    assert!(!catalog.spend("a", until).await.expect("spend"));
    assert!(catalog.spend("b", until).await.expect("spend"));
    catalog.sweep(noon()).await.expect("sweep");
    assert!(!catalog.spend("a", until).await.expect("spend"));
    catalog.sweep(until).await.expect("sweep");
    assert!(catalog.spend("a", until).await.expect("spend"));
}
