//! An instance in short, as lists show it.

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
    pub(super) is_ending: bool,
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
            is_ending: route.deleted.is_some(),
        }
    }
}
