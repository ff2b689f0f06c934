//! Accounts.

use futures::future::join_all;

use super::database::TestDatabase;
use super::{on_both_databases, sign_up};
use crate::{Account, NewAccount, Role};

on_both_databases!(
    the_first_account_is_made_once,
    replicas_that_start_at_once_make_one_first_account,
    a_name_belongs_to_one_account,
    an_account_comes_back_as_it_was_made,
    changes_of_an_account_are_kept,
);

fn new(name: &str) -> NewAccount {
    NewAccount {
        name: name.to_owned(),
        password_hash: Some("$argon2id$v=19$hash".to_owned()),
        role: Role::Admin,
    }
}

async fn the_first_account_is_made_once(database: TestDatabase) {
    let catalog = database.open().await;
    assert!(
        catalog
            .create_first_account(&new("admin"))
            .await
            .expect("create")
    );
    assert!(
        !catalog
            .create_first_account(&new("admin"))
            .await
            .expect("create")
    );
    assert!(
        !catalog
            .create_first_account(&new("other"))
            .await
            .expect("create")
    );
    let names: Vec<String> = catalog
        .accounts(10)
        .await
        .expect("read")
        .into_iter()
        .map(|account| account.name)
        .collect();
    assert_eq!(names, ["admin"]);
}

async fn replicas_that_start_at_once_make_one_first_account(database: TestDatabase) {
    let (one, other) = (database.open().await, database.open().await);
    let accounts: Vec<NewAccount> = (0..8)
        .map(|number| new(&format!("admin-{number}")))
        .collect();
    let made = join_all(accounts.iter().enumerate().map(|(number, account)| {
        let replica = if number % 2 == 0 { &one } else { &other };
        replica.create_first_account(account)
    }))
    .await;
    let made = made
        .into_iter()
        .map(|made| made.expect("create"))
        .filter(|made| *made)
        .count();
    assert_eq!(made, 1);
    assert_eq!(one.accounts(10).await.expect("read").len(), 1);
}

async fn a_name_belongs_to_one_account(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    let error = catalog
        .create_account(&new("alice"))
        .await
        .expect_err("it is taken");
    assert_eq!(error.to_string(), "account `alice` exists already");
    let account = catalog.account("alice").await.expect("read");
    assert_eq!(account.expect("an account").role, Role::Full);
}

async fn an_account_comes_back_as_it_was_made(database: TestDatabase) {
    let catalog = database.open().await;
    for role in [Role::Visitor, Role::Full, Role::Admin] {
        let made = NewAccount {
            role,
            ..new(&role.to_string())
        };
        catalog.create_account(&made).await.expect("create");
        let read = catalog.account(&made.name).await.expect("read");
        assert_eq!(
            read,
            Some(Account {
                name: made.name,
                password_hash: made.password_hash,
                role,
                disabled: false,
            })
        );
    }
    assert_eq!(catalog.account("nobody").await.expect("read"), None);
}

async fn changes_of_an_account_are_kept(database: TestDatabase) {
    let catalog = database.open().await;
    catalog.create_account(&new("alice")).await.expect("create");
    catalog.create_account(&new("bob")).await.expect("create");
    assert!(
        catalog
            .set_account_disabled("alice", true)
            .await
            .expect("change")
    );
    assert!(
        catalog
            .set_password_hash("alice", "changed")
            .await
            .expect("change")
    );
    assert!(
        !catalog
            .set_account_disabled("nobody", true)
            .await
            .expect("change")
    );
    let alice = catalog
        .account("alice")
        .await
        .expect("read")
        .expect("alice");
    assert!(alice.disabled);
    assert_eq!(alice.password_hash.as_deref(), Some("changed"));
    let bob = catalog.account("bob").await.expect("read").expect("bob");
    assert!(!bob.disabled);
    assert_eq!(bob.password_hash, new("bob").password_hash);
}

#[test]
fn accounts_never_show_their_hash() {
    let new = new("alice");
    let account = Account {
        name: new.name.clone(),
        password_hash: new.password_hash.clone(),
        role: new.role,
        disabled: false,
    };
    for shown in [format!("{new:?}"), format!("{account:?}")] {
        assert!(
            shown.contains("alice") && !shown.contains("argon2id"),
            "{shown}"
        );
    }
}
