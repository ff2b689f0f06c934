//! The page of one instance: how it is, what has happened, and what may be changed.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use bundle::{bytes_words, cpu_words};
use chrono::DateTime;
use crds::{AppRef, Visibility, WaveInstance};
use http::{Response, StatusCode};
use humantime::FormattedDuration;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;

use super::account::Moment;
use super::instance_card::{Deadline, undo_words};
use super::{
    Frame, Inline, LOG_SCRIPT, Needs, News, STATES_SCRIPT, State, VisibilityChoice, html, problem,
    render, states_of, visibilities, visibility_words,
};
use crate::error::Error;
use crate::policy::{Action, Decision, decide};
use crate::site::Site;
use crate::table::{AppEntry, Route, Size, Snapshot};
use crate::target::Form;
use crate::usage::Usage;
use crate::viewer::Viewer;
use crate::waiting::Rights;

/// How many Events the page shows.
const MAX_EVENTS: usize = 20;

/// Told in place of what the app itself may have said.
const FOR_READERS_OF_THE_LOG: &str = "Those who may read its log can see why.";

/// What the page is made of.
#[derive(Debug)]
pub(in crate::web) struct Look<'a> {
    /// The instance as the Kubernetes API has it.
    pub object: &'a WaveInstance,
    /// The same as the router sees it.
    pub route: &'a Route,
    /// What has happened to it, unless nobody can say now.
    pub events: Option<Vec<Event>>,
    /// The last lines of its log, if there are some and they may be read.
    pub log: Option<Arc<str>>,
    /// What its pod uses, where that is measured.
    pub usage: Option<Usage>,
    /// All apps.
    pub snapshot: &'a Snapshot,
    /// For how long its deletion can be undone.
    pub undo: Duration,
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "instance.html")]
pub(in crate::web) struct Instance<'a> {
    frame: Frame<'a>,
    id: &'a str,
    title: &'a str,
    app: &'a AppRef,
    owner: &'a str,
    is_own: bool,
    visibility: &'static str,
    shared_with: Visibility,
    visibilities: [VisibilityChoice; 3],
    url: String,
    now: State<'a>,
    made: Option<Moment>,
    used: Option<Moment>,
    suspended: bool,
    delete_after: Option<Deadline>,
    is_ending: bool,
    undo: Option<FormattedDuration>,
    conditions: Vec<Line>,
    /// What its pod uses, and when that was so.
    usage: Option<(String, Option<Moment>)>,
    events: Option<Vec<Line>>,
    /// Nothing when the log is not for this viewer.
    log: Option<Arc<str>>,
    log_script: Inline,
    aliases: Vec<Alias>,
    versions: Vec<&'a str>,
    size: Option<&'a str>,
    sizes: &'a [Size],
    done: Option<&'static str>,
    problem: Option<String>,
    states: String,
    script: Inline,
    #[template(skip)]
    status: StatusCode,
    #[template(skip)]
    site: &'a Site,
}

/// Another name of the instance.
#[derive(Debug)]
struct Alias {
    name: String,
    url: String,
    is_primary: bool,
}

/// The names that lead to the instance beside its own.
fn aliases(site: &Site, route: &Route, snapshot: &Snapshot) -> Vec<Alias> {
    let names = snapshot.names.aliases.iter();
    let of_it = names.filter(|(_, instance)| **instance == route.id);
    let mut aliases: Vec<Alias> = of_it
        .map(|(alias, _)| Alias {
            name: alias.to_string(),
            url: site.instance_url(alias, route.form.unwrap_or(Form::Domain)),
            is_primary: route
                .primary
                .as_ref()
                .is_some_and(|primary| primary.name == *alias),
        })
        .collect();
    aliases.sort_by(|a, b| a.name.cmp(&b.name));
    aliases
}

/// One fact about an instance.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    words: String,
    reason: String,
    message: String,
    at: Option<Moment>,
    is_bad: bool,
    times: i32,
}

impl<'a> Instance<'a> {
    /// The page for `viewer`, who manages the instance.
    pub(in crate::web) fn new(
        (site, frame): (&'a Site, Frame<'a>),
        viewer: &Viewer,
        look: Look<'a>,
        news: News<'_>,
    ) -> Self {
        let Look {
            object,
            route,
            events,
            log,
            usage,
            snapshot,
            undo,
        } = look;
        let rights = Rights::of(Some(viewer), route);
        let status = object.status.as_ref();
        let conditions = status.map_or(&[][..], |status| &status.conditions);
        let used = status.and_then(|status| status.last_activity.as_ref());
        let failure = news.failure();
        Self {
            frame,
            id: route.id.as_ref(),
            title: route.title.as_deref().unwrap_or(&route.app.name),
            app: &route.app,
            owner: &route.owner,
            is_own: *route.owner == *viewer.name,
            visibility: visibility_words(route.visibility).0,
            shared_with: route.visibility,
            visibilities: visibilities(),
            url: site.instance_url(&route.id, route.form.unwrap_or(Form::Domain)),
            now: State::of(route, rights),
            made: route.created.and_then(moment),
            used: used.and_then(|at| moment(at.0)),
            suspended: route.suspended,
            delete_after: route.delete_after.and_then(Deadline::new),
            is_ending: route.deleted.is_some(),
            undo: undo_words(undo),
            conditions: condition_lines(conditions, route.failing, rights),
            usage: usage.map(usage_words),
            events: events.map(|events| event_lines(&events, rights)),
            log: rights
                .reads_log
                .then(|| log.unwrap_or_else(|| Arc::from(""))),
            log_script: LOG_SCRIPT,
            aliases: aliases(site, route, snapshot),
            versions: other_versions(viewer, &route.app, snapshot),
            size: route.size.as_deref(),
            sizes: snapshot
                .apps
                .get(&route.app)
                .map_or(&[][..], |entry| &entry.sizes),
            done: news.done(),
            problem: failure.map(problem),
            states: states_of(&route.owner),
            script: STATES_SCRIPT,
            status: failure.map_or(StatusCode::OK, Error::status),
            site,
        }
    }

    pub(in crate::web) fn reply(&self) -> Result<Response<String>, Error> {
        Ok(html(
            self.status,
            render(self)?,
            Needs::StatesAndLog,
            self.site,
        ))
    }
}

/// Versions of the app that the viewer could run in place of this one, the newest first.
fn other_versions<'a>(viewer: &Viewer, app: &AppRef, snapshot: &'a Snapshot) -> Vec<&'a str> {
    let mut versions = runnable_versions(viewer, &app.name, snapshot);
    versions.retain(|version| *version != app.version);
    versions
}

/// Versions of the app of this name that the viewer can run, the newest first.
pub(super) fn runnable_versions<'a>(
    viewer: &Viewer,
    name: &str,
    snapshot: &'a Snapshot,
) -> Vec<&'a str> {
    let runs = |entry: &AppEntry| {
        let run = Action::RunApp(Some(entry.into()));
        entry.ready && decide(Some(viewer), run) == Decision::Allow
    };
    let entries = snapshot.apps.values().map(AsRef::as_ref);
    let mut entries: Vec<&AppEntry> = entries
        .filter(|entry| entry.app.name == name && runs(entry))
        .collect();
    entries.sort_by(|a, b| (b.created, &b.app.version).cmp(&(a.created, &a.app.version)));
    entries
        .into_iter()
        .map(|entry| entry.app.version.as_str())
        .collect()
}

fn condition_lines(conditions: &[Condition], failing: bool, rights: Rights) -> Vec<Line> {
    let lines = conditions.iter();
    let lines = lines.filter_map(|condition| condition_line(condition, failing, rights));
    let mut lines: Vec<Line> = lines.collect();
    // What keeps it from being ready is also what is under way.
    for index in 1..lines.len() {
        if lines[index].message == lines[0].message {
            lines[index].message.clear();
        }
    }
    lines
}

fn condition_line(condition: &Condition, failing: bool, rights: Rights) -> Option<Line> {
    let holds = condition.status == "True";
    let words = match (condition.type_.as_str(), holds) {
        ("Ready", true) => "It is as it should be.",
        ("Ready", false) => "It is not ready.",
        ("Reconciling", true) => "The store is at work on it.",
        ("Stalled", true) => "It does not go on by itself: somebody has to change something.",
        _ => return None,
    };
    let is_bad = failing && (condition.type_ == "Stalled" || !holds);
    Some(Line {
        words: words.to_owned(),
        reason: condition.reason.clone(),
        message: said(&condition.message, failing, rights),
        at: moment(condition.last_transition_time.0),
        is_bad,
        times: 1,
    })
}

fn usage_words(usage: Usage) -> (String, Option<Moment>) {
    let Usage {
        cpu,
        memory,
        measured,
    } = usage;
    let words = format!(
        "{} of memory, {}",
        bytes_words(memory.now, memory.limit),
        cpu_words(cpu.now, cpu.limit)
    );
    (words, measured.and_then(moment))
}

/// A message that may hold what the app itself has said.
fn said(message: &str, is_bad: bool, rights: Rights) -> String {
    if is_bad && !rights.reads_log {
        FOR_READERS_OF_THE_LOG.to_owned()
    } else {
        message.to_owned()
    }
}

/// The newest first.
fn event_lines(events: &[Event], rights: Rights) -> Vec<Line> {
    let mut events: Vec<(Option<Timestamp>, &Event)> = events
        .iter()
        .map(|event| (happened(event), event))
        .collect();
    events.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    events
        .into_iter()
        .take(MAX_EVENTS)
        .map(|(at, event)| {
            let is_bad = event.type_.as_deref() == Some("Warning");
            let series = event.series.as_ref().and_then(|series| series.count);
            let reason = event.reason.clone().unwrap_or_default();
            Line {
                words: spaced(&reason),
                reason,
                message: said(event.message.as_deref().unwrap_or_default(), is_bad, rights),
                at: at.and_then(moment),
                is_bad,
                times: series.or(event.count).unwrap_or(1),
            }
        })
        .collect()
}

/// When an Event happened last. Which of its many times are told depends on who has written it.
fn happened(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref();
    let last = series.and_then(|series| series.last_observed_time.as_ref());
    last.or(event.event_time.as_ref())
        .map(|time| time.0)
        .or_else(|| event.last_timestamp.as_ref().map(|time| time.0))
        .or_else(|| {
            let made = event.metadata.creation_timestamp.as_ref();
            made.map(|time| time.0)
        })
}

/// `SpecChanged` as people write it: `Spec changed`.
fn spaced(reason: &str) -> String {
    let mut words = String::with_capacity(reason.len() + 4);
    for letter in reason.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
            words.extend(letter.to_lowercase());
        } else {
            words.push(letter);
        }
    }
    words
}

pub(super) fn moment(at: Timestamp) -> Option<Moment> {
    DateTime::from_timestamp(at.as_second(), 0).map(Moment)
}

#[cfg(test)]
mod tests {
    use catalog::Role;
    use serde_json::json;

    use super::*;
    use crate::usage::Used;
    use crate::web::form::FormToken;
    use crate::web::pages::{Done, example_site, skeleton};

    fn object() -> WaveInstance {
        let object = json!({
            "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveInstance",
            "metadata": { "name": "sales", "uid": "uid-of-sales", "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "app": { "name": "hello", "version": "1.0.0" }, "owner": "alice" },
            "status": {
                "phase": "Restarting The Application",
                "conditions": [
                    {
                        "type": "Ready", "status": "False", "reason": "AppFailed", "message": "KeyError: <b>",
                        "lastTransitionTime": "2026-01-01T00:01:00Z",
                    },
                    {
                        "type": "Reconciling", "status": "True", "reason": "AppFailed", "message": "KeyError: <b>",
                        "lastTransitionTime": "2026-01-01T00:01:00Z",
                    },
                ],
            },
        });
        serde_json::from_value(object).expect("an instance")
    }

    fn usage() -> Usage {
        let used = |now, limit| Used { now, limit };
        Usage {
            cpu: used(30, Some(1000)),
            memory: used(212 << 20, Some(1 << 30)),
            measured: "2026-01-01T00:02:00Z".parse().ok(),
        }
    }

    fn event(reason: &str, type_: &str, message: &str, second: u8) -> Event {
        let event = json!({
            "metadata": { "name": reason, "creationTimestamp": "2026-01-01T00:00:00Z" },
            "involvedObject": {}, "reason": reason, "type": type_, "message": message,
            "eventTime": format!("2026-01-01T00:00:{second:02}.000000Z"),
        });
        serde_json::from_value(event).expect("an Event")
    }

    fn page(viewer: &Viewer, news: News<'_>) -> Response<String> {
        page_of(&object(), viewer, news)
    }

    fn page_of(object: &WaveInstance, viewer: &Viewer, news: News<'_>) -> Response<String> {
        let site = example_site();
        let token = FormToken::of("secret");
        let table = crate::table::Table::default();
        let mut snapshot = Snapshot::default();
        for (version, second) in [("1.0.0", 1), ("1.1.0", 2), ("1.0.1", 3)] {
            let mut entry = AppEntry::example("hello", version);
            entry.created = Timestamp::from_second(second).ok();
            snapshot.apps.insert(entry.app.clone(), Arc::new(entry));
        }
        table.publish(snapshot.clone());
        let route = table.ahead(object).expect("a route");
        let look = Look {
            object,
            route: &route,
            events: Some(vec![
                event("ReleaseAbsent", "Normal", "installed revision 1", 1),
                event("AppFailed", "Warning", "KeyError: <b>", 2),
            ]),
            log: Some("Traceback\nKeyError: <b>".into()),
            usage: Some(usage()),
            snapshot: &snapshot,
            undo: Duration::from_mins(1),
        };
        let frame = Frame::for_viewer(&site, viewer, &token);
        let page = Instance::new((&site, frame), viewer, look, news);
        page.reply().expect("a page")
    }

    #[test]
    fn the_page_as_it_is() {
        let viewer = |name: &str, role| Viewer::example(name, role);
        let owner = page(&viewer("alice", Role::Full), News::Done(Done::Shared));
        insta::assert_snapshot!("instance", skeleton(owner.body()));
        let refused = Error::OwnerOnly;
        let admin = page(&viewer("root", Role::Admin), News::Failed(&refused));
        assert_eq!(admin.status(), StatusCode::FORBIDDEN);
        insta::assert_snapshot!("instance_admin", skeleton(admin.body()));
        let visitor = page(&viewer("alice", Role::Visitor), News::None);
        for page in [&owner, &admin, &visitor] {
            assert!(!page.body().contains("<b>"));
        }
        for page in [admin, visitor] {
            assert!(!page.body().contains("KeyError"), "{}", page.body());
        }
    }

    #[test]
    fn what_will_be_deleted_can_be_kept_or_deleted_now() {
        let alice = Viewer::example("alice", Role::Full);
        let mut object = object();
        object.metadata.annotations = Some(
            [(
                crds::DELETE_AFTER_ANNOTATION.to_owned(),
                "2026-01-01T13:00:00.5+01:00".to_owned(),
            )]
            .into(),
        );
        let page = page_of(&object, &alice, News::Done(Done::WillBeDeleted));
        insta::assert_snapshot!("instance_will_be_deleted", skeleton(page.body()));
    }

    #[test]
    fn limits_are_told_where_there_are_some() {
        let mut usage = usage();
        usage.measured = None;
        let told = |usage| usage_words(usage).0;
        assert_eq!(told(usage), "212 MiB of 1 GiB of memory, 0.03 of 1 CPU");
        usage.cpu.limit = None;
        usage.memory.limit = None;
        assert_eq!(told(usage), "212 MiB of memory, 0.03 CPU");
    }

    #[test]
    fn reasons_are_read_as_words() {
        for (reason, words) in [
            ("SpecChanged", "Spec changed"),
            ("Drifted", "Drifted"),
            ("", ""),
        ] {
            assert_eq!(spaced(reason), words);
        }
    }
}
