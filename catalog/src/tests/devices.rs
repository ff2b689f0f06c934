//! Devices that ask to be let in, and who says what to them.

use chrono::TimeDelta;
use futures::future::join_all;

use super::database::TestDatabase;
use super::{noon, on_both_databases, sign_up};
use crate::{Catalog, DeviceAnswer, DeviceCode, NewDevice, Role, UserCode};

on_both_databases!(
    a_device_is_let_in_once,
    of_many_who_claim_a_device_one_gets_it,
    a_device_that_is_refused_stays_out,
    a_device_waits_for_some_minutes,
    a_code_is_of_one_device,
);

fn device(user_code: &str) -> NewDevice {
    NewDevice {
        code: DeviceCode::random().expect("random bytes"),
        user_code: user_code.parse().expect("a code"),
        device: "wavestore on laptop".to_owned(),
        expires_at: noon() + TimeDelta::minutes(10),
    }
}

async fn ask(catalog: &Catalog, user_code: &str) -> NewDevice {
    let device = device(user_code);
    let waits = catalog.create_device(&device, noon()).await;
    assert!(waits.expect("an answer"), "{user_code}");
    device
}

async fn claim(catalog: &Catalog, device: &NewDevice) -> DeviceAnswer {
    let answer = catalog.claim_device(&device.code, noon()).await;
    answer.expect("an answer")
}

async fn answer(catalog: &Catalog, code: &UserCode, account: Option<&str>) -> bool {
    let answered = catalog.answer_device(code, account, noon()).await;
    answered.expect("an answer")
}

fn granted(account: &str) -> DeviceAnswer {
    DeviceAnswer::Granted {
        account: account.to_owned(),
        device: "wavestore on laptop".to_owned(),
    }
}

async fn a_device_is_let_in_once(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    sign_up(&catalog, "mallory", Role::Full).await;
    let one = ask(&catalog, "BCDF-GHJK").await;
    let other = ask(&catalog, "ZZZZ-ZZZZ").await;
    let seen = catalog.device(&one.user_code, noon()).await;
    assert_eq!(seen.expect("an answer").as_deref(), Some(&*one.device));
    assert_eq!(claim(&catalog, &one).await, DeviceAnswer::Pending);
    assert!(answer(&catalog, &one.user_code, Some("alice")).await);
    for late in [Some("mallory"), None] {
        assert!(!answer(&catalog, &one.user_code, late).await, "{late:?}");
    }
    let seen = catalog.device(&one.user_code, noon()).await;
    assert_eq!(seen.expect("an answer"), None);
    assert_eq!(claim(&catalog, &other).await, DeviceAnswer::Pending);
    assert_eq!(claim(&catalog, &one).await, granted("alice"));
    assert_eq!(claim(&catalog, &one).await, DeviceAnswer::Gone);
    assert_eq!(
        claim(&catalog, &device("BCDF-GHJK")).await,
        DeviceAnswer::Gone
    );
}

async fn of_many_who_claim_a_device_one_gets_it(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    let device = ask(&catalog, "BCDF-GHJK").await;
    assert!(answer(&catalog, &device.user_code, Some("alice")).await);
    let told = join_all((0..8).map(|_| claim(&catalog, &device))).await;
    let lucky = told.iter().filter(|told| **told == granted("alice"));
    assert_eq!(lucky.count(), 1, "{told:?}");
}

async fn a_device_that_is_refused_stays_out(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    let device = ask(&catalog, "BCDF-GHJK").await;
    assert!(answer(&catalog, &device.user_code, None).await);
    assert!(!answer(&catalog, &device.user_code, Some("alice")).await);
    assert_eq!(claim(&catalog, &device).await, DeviceAnswer::Denied);
    assert_eq!(claim(&catalog, &device).await, DeviceAnswer::Gone);
}

async fn a_device_waits_for_some_minutes(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    let device = ask(&catalog, "BCDF-GHJK").await;
    let late = device.expires_at;
    let answered = catalog.answer_device(&device.user_code, Some("alice"), late);
    assert!(!answered.await.expect("an answer"));
    assert!(answer(&catalog, &device.user_code, Some("alice")).await);
    let told = catalog.claim_device(&device.code, late).await;
    assert_eq!(told.expect("an answer"), DeviceAnswer::Gone);
    // Whoever asks next sweeps it away, and may have its code; the sweep from time to time forgets both.
    let next = NewDevice {
        expires_at: late + TimeDelta::minutes(10),
        ..self::device("BCDF-GHJK")
    };
    assert!(catalog.create_device(&next, late).await.expect("an answer"));
    catalog.sweep(next.expires_at).await.expect("swept");
    let told = catalog.claim_device(&next.code, late).await;
    assert_eq!(told.expect("an answer"), DeviceAnswer::Gone);
}

async fn a_code_is_of_one_device(database: TestDatabase) {
    let catalog = database.open().await;
    let first = ask(&catalog, "BCDF-GHJK").await;
    let second = catalog.create_device(&device("BCDF-GHJK"), noon()).await;
    assert!(!second.expect("an answer"));
    assert_eq!(claim(&catalog, &first).await, DeviceAnswer::Pending);
}
