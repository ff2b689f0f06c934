//! An instance in short, as lists show it.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use humantime::FormattedDuration;
use k8s_openapi::jiff::Timestamp;

use super::{State, visibility_words};
use crate::site::Site;
use crate::table::Route;
use crate::target::Form;
use crate::viewer::Viewer;
use crate::waiting::Rights;

/// One instance.
#[derive(Debug)]
pub(super) struct InstanceCard<'a> {
    pub(super) id: &'a str,
    pub(super) url: String,
    pub(super) app: &'a str,
    pub(super) version: &'a str,
    /// Its owner, where that is somebody else.
    pub(super) owner: Option<&'a str>,
    pub(super) visibility: &'static str,
    pub(super) now: State<'a>,
    pub(super) suspended: bool,
    /// When it will be deleted, as long as that can be undone.
    pub(super) delete_after: Option<Deadline>,
    pub(super) is_ending: bool,
}

/// When an instance will be deleted: for people, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deadline(DateTime<Utc>);

impl Deadline {
    pub(super) fn new(at: Timestamp) -> Option<Self> {
        DateTime::from_timestamp(at.as_second(), 0).map(Self)
    }

    /// The same for programs, as the API has it.
    pub(super) fn exact(self) -> String {
        self.0.to_rfc3339_opts(SecondsFormat::Secs, true)
    }
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.format("%-d %b %Y, %H:%M:%S UTC").fmt(f)
    }
}

/// For how long a deletion can be undone; none where it cannot.
pub(super) fn undo_words(undo: Duration) -> Option<FormattedDuration> {
    (!undo.is_zero()).then(|| humantime::format_duration(undo))
}

impl<'a> InstanceCard<'a> {
    /// The instance as `viewer`, who manages it, sees it.
    pub(super) fn new(site: &Site, viewer: &Viewer, route: &'a Route) -> Self {
        let owner = &*route.owner;
        Self {
            id: route.id.as_ref(),
            url: site.instance_url(&route.id, route.form.unwrap_or(Form::Domain)),
            app: &route.app.name,
            version: &route.app.version,
            owner: (*owner != *viewer.name).then_some(owner),
            visibility: visibility_words(route.visibility).0,
            now: State::of(route, Rights::of(Some(viewer), route)),
            suspended: route.suspended,
            delete_after: route.delete_after.and_then(Deadline::new),
            is_ending: route.deleted.is_some(),
        }
    }
}
