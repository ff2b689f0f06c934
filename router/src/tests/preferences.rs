//! Likes and pins, by the API and by the buttons of pages.

use crds::Visibility;
use reqwest::Method;
use serde_json::{Value, json};

use super::browser::Browser;
use super::instances::{Program, object};
use super::test_store::TestStore;

const PREFERENCES: &str = "/api/v1/preferences";

#[tokio::test]
async fn somebody_likes_and_pins_what_they_see() {
    let store = TestStore::start().await;
    store.publish_app("hello", Visibility::AllUsers).await;
    store.publish_app("hidden", Visibility::Private).await;
    let mallory = store.program("mallory").await;
    let alice = store.program("alice").await;
    let change = async |program: &Program<'_>, app: &str, change: &str| {
        let path = format!("{PREFERENCES}/{app}");
        let change = serde_json::from_str(change).expect("json");
        let answer = program.send(Method::PATCH, &path, Some(change)).await;
        let (status, answer) = object(answer).await;
        let told = (answer["liked"].as_bool(), answer["pinned"].as_bool());
        (status, told.0.zip(told.1))
    };
    for (program, app, asked, status, expected) in [
        (&mallory, "hello", "{}", 200, Some((false, false))),
        (
            &mallory,
            "hello",
            r#"{"liked": true}"#,
            200,
            Some((true, false)),
        ),
        (
            &mallory,
            "hello",
            r#"{"pinned": true}"#,
            200,
            Some((true, true)),
        ),
        (
            &alice,
            "hello",
            r#"{"liked": true}"#,
            200,
            Some((true, false)),
        ),
        (
            &alice,
            "hidden",
            r#"{"pinned": true}"#,
            200,
            Some((false, true)),
        ),
        (&mallory, "hidden", r#"{"liked": true}"#, 404, None),
        (&mallory, "hidden", r#"{"liked": false}"#, 404, None),
        (&mallory, "none", r#"{"pinned": true}"#, 404, None),
        (&mallory, "%00", r#"{"pinned": true}"#, 404, None),
        (&mallory, "hello", r#"{"loved": true}"#, 400, None),
        (&mallory, "hello", "[true, true]", 400, None),
    ] {
        let found = change(program, app, asked).await;
        assert_eq!(found, (status, expected), "{app}: {asked}");
    }
    let hello = json!({ "app": "hello", "liked": true, "pinned": true });
    let all = json!({ "items": [hello], "next": null });
    assert_eq!(mallory.get(PREFERENCES).await, (200, all));
    let (_, page) = alice.get(&format!("{PREFERENCES}?limit=1")).await;
    assert_eq!(page["items"][0]["app"], "hello");
    let (_, page) = alice.get(page["next"].as_str().expect("more")).await;
    assert_eq!(page["items"][0]["app"], "hidden");
    assert_eq!(page["next"], Value::Null);

    let (_, apps) = mallory.get("/api/v1/apps?q=hello").await;
    let app = &apps["items"][0];
    let told = json!([app["likes"], app["liked"], app["pinned"]]);
    assert_eq!(told, json!([2, true, true]));

    // What is not shown any more can still be taken back, and nothing else.
    store.publish_app("hello", Visibility::Private).await;
    for (asked, status) in [
        (r#"{"liked": false, "pinned": true}"#, 404),
        (r#"{"liked": false, "pinned": false}"#, 200),
        (r#"{"liked": false}"#, 404),
    ] {
        let (found, _) = change(&mallory, "hello", asked).await;
        assert_eq!(found, status, "{asked}");
    }
}

#[tokio::test]
async fn a_pinned_app_comes_first_on_the_first_page() {
    let store = TestStore::start().await;
    for app in ["first", "second"] {
        store.publish_app(app, Visibility::AllUsers).await;
    }
    let mut mallory = store.signed_in("mallory").await;
    let home = store.store("/");
    let before = mallory.open(&home).await.text().await.expect("a page");
    assert!(!before.contains("Pinned"), "{before}");
    let press = async |browser: &mut Browser, fields: &[(&str, &str)]| {
        let answer = browser.submit("/preferences", fields).await;
        let place = answer.headers().get("location");
        let place = place.map(|place| place.to_str().expect("text").to_owned());
        (answer.status().as_u16(), place)
    };
    let app = ("app", "first");
    for (fields, expected) in [
        (
            &[app, ("pinned", "true"), ("back", "/?#apps")][..],
            "/?#apps",
        ),
        (
            &[app, ("liked", "true"), ("back", "/apps/first/1.0.0")],
            "/apps/first/1.0.0",
        ),
        (&[app, ("back", "//elsewhere.example/")], "/"),
        (&[app, ("back", "https://elsewhere.example/")], "/"),
    ] {
        let answer = press(&mut mallory, fields).await;
        assert_eq!(answer, (303, Some(expected.to_owned())), "{fields:?}");
    }
    assert_eq!(
        press(&mut mallory, &[("app", "none"), ("liked", "true")])
            .await
            .0,
        404
    );

    let after = mallory.open(&home).await.text().await.expect("a page");
    let places = ["Pinned", "/apps/first/", ">Apps<", "/apps/second/"];
    let places = places.map(|text| after.find(text).expect(text));
    assert!(places.is_sorted(), "{places:?}: {after}");
    assert!(after.contains("liked by 1"), "{after}");
    let once = after.matches("Run The first").count();
    assert_eq!(once, before.matches("Run The first").count(), "{after}");
    let found = mallory.open(&store.store("/?q=first")).await;
    let found = found.text().await.expect("a page");
    assert!(!found.contains("id=\"pinned\""), "{found}");
    let page = mallory.open(&store.store("/apps/first/1.0.0")).await;
    let page = page.text().await.expect("a page");
    assert!(
        page.contains("Unpin") && page.contains("liked by 1"),
        "{page}"
    );

    press(&mut mallory, &[app, ("pinned", "false")]).await;
    let after = mallory.open(&home).await.text().await.expect("a page");
    assert!(!after.contains("id=\"pinned\""), "{after}");
}
