//! Tickets: good once, on one host, for a moment.

use chrono::TimeDelta;
use futures::future::join_all;

use super::database::TestDatabase;
use super::sessions::{create, sign_in};
use super::{noon, on_both_databases, sign_up};
use crate::{Catalog, Error, NewTicket, Role, SessionId, SessionKey, TicketId};

const HOST: &str = "sales.apps.example";

on_both_databases!(
    a_ticket_is_good_once,
    of_many_who_redeem_a_ticket_one_gets_in,
    a_ticket_is_good_on_its_host_only,
    a_ticket_is_good_for_a_moment,
    a_ticket_is_worth_what_its_session_is,
);

async fn signed_in(catalog: &Catalog) -> SessionKey {
    sign_up(catalog, "alice", Role::Full).await;
    create(catalog, sign_in()).await
}

async fn ticket_for(catalog: &Catalog, session: SessionKey) -> TicketId {
    let ticket = NewTicket {
        id: TicketId::random().expect("random bytes"),
        session,
        host: HOST.to_owned(),
        expires_at: noon() + TimeDelta::seconds(30),
    };
    catalog
        .create_ticket(&ticket)
        .await
        .expect("create a ticket");
    ticket.id
}

async fn a_ticket_is_good_once(database: TestDatabase) {
    let catalog = database.open().await;
    let session = signed_in(&catalog).await;
    let id = ticket_for(&catalog, session).await;
    let ticket = catalog
        .redeem_ticket(&id, HOST, noon())
        .await
        .expect("redeem");
    let ticket = ticket.expect("good");
    assert_eq!(ticket.host, HOST);
    assert_eq!(ticket.session.key, session);
    assert_eq!(ticket.session.account, "alice");
    let again = catalog
        .redeem_ticket(&id, HOST, noon())
        .await
        .expect("redeem");
    assert_eq!(again, None);
    let unknown = TicketId::random().expect("random bytes");
    let unknown = catalog.redeem_ticket(&unknown, HOST, noon()).await;
    assert_eq!(unknown.expect("redeem"), None);
}

async fn of_many_who_redeem_a_ticket_one_gets_in(database: TestDatabase) {
    let (one, other) = (database.open().await, database.open().await);
    let session = signed_in(&one).await;
    for _ in 0..5 {
        let id = ticket_for(&one, session).await;
        let redeemed = join_all((0..8).map(|number| {
            let replica = if number % 2 == 0 { &one } else { &other };
            replica.redeem_ticket(&id, HOST, noon())
        }))
        .await;
        let good = redeemed
            .into_iter()
            .filter_map(|ticket| ticket.expect("redeem"))
            .count();
        assert_eq!(good, 1);
    }
}

async fn a_ticket_is_good_on_its_host_only(database: TestDatabase) {
    let catalog = database.open().await;
    let session = signed_in(&catalog).await;
    let id = ticket_for(&catalog, session).await;
    for host in ["evil.apps.example", HOST] {
        let ticket = catalog.redeem_ticket(&id, host, noon()).await;
        assert_eq!(ticket.expect("redeem"), None, "{host}");
    }
}

async fn a_ticket_is_good_for_a_moment(database: TestDatabase) {
    let catalog = database.open().await;
    let session = signed_in(&catalog).await;
    for (age, good) in [(29, true), (30, false)] {
        let id = ticket_for(&catalog, session).await;
        let now = noon() + TimeDelta::seconds(age);
        let ticket = catalog.redeem_ticket(&id, HOST, now).await.expect("redeem");
        assert_eq!(ticket.is_some(), good, "after {age} s");
    }
}

async fn a_ticket_is_worth_what_its_session_is(database: TestDatabase) {
    let catalog = database.open().await;
    let session = signed_in(&catalog).await;
    let id = ticket_for(&catalog, session).await;
    catalog.end_session(&session).await.expect("end");
    let ticket = catalog
        .redeem_ticket(&id, HOST, noon())
        .await
        .expect("redeem");
    assert_eq!(ticket, None);
    let unknown = NewTicket {
        id,
        session: SessionId::random().expect("random bytes").key(),
        host: HOST.to_owned(),
        expires_at: noon(),
    };
    let error = catalog
        .create_ticket(&unknown)
        .await
        .expect_err("no session");
    assert!(matches!(error, Error::SessionGone), "{error:?}");
}
