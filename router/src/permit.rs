//! Who may enter an instance, and the proof that the policy said yes.

#![deny(clippy::wildcard_enum_match_arm)]

use std::sync::Arc;

use catalog::SessionKey;
use crds::Visibility;

use crate::InstanceId;
use crate::table::{Route, Table};
use crate::viewer::{SignedIn, Viewer};

/// The policy's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Enter.
    Allow,
    /// Sign in first; says nothing about whether the instance exists.
    SignIn,
    /// Answered as if there were no such instance.
    Hide,
}

/// Decides whether `viewer` may enter the instance at `route`. An instance that does not exist and one that is
/// somebody else's get the same answer. An admin manages instances but does not enter a private one.
#[must_use]
pub(crate) fn decide(viewer: Option<&Viewer>, route: Option<&Route>) -> Decision {
    let visibility = route.map(|route| route.visibility);
    match (viewer, visibility) {
        (_, Some(Visibility::Public)) | (Some(_), Some(Visibility::AllUsers)) => Decision::Allow,
        (None, Some(Visibility::AllUsers | Visibility::Private) | None) => Decision::SignIn,
        (Some(viewer), Some(Visibility::Private)) => {
            if route.is_some_and(|route| *route.owner == *viewer.name) {
                Decision::Allow
            } else {
                Decision::Hide
            }
        }
        (Some(_), None) => Decision::Hide,
    }
}

/// Proof that the policy said yes. The private fields leave [`Table::authorize`] as the only maker.
#[derive(Debug)]
pub(crate) struct Permit {
    route: Arc<Route>,
    signed_in: Option<SignedIn>,
}

impl Permit {
    /// The instance that may be entered.
    #[must_use]
    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// The session that the answer rests on; none when the instance is public, or something else proves who it is.
    #[must_use]
    pub(crate) fn session(&self) -> Option<SessionKey> {
        self.signed_in.as_ref().and_then(SignedIn::session)
    }

    /// Who enters; nobody in particular when the instance is public.
    #[must_use]
    pub(crate) fn viewer(&self) -> Option<&Viewer> {
        self.signed_in.as_ref().map(|signed_in| &signed_in.viewer)
    }

    /// Whether the one who enters owns the instance.
    #[must_use]
    pub(crate) fn is_owner(&self) -> bool {
        self.viewer()
            .is_some_and(|viewer| *viewer.name == *self.route.owner)
    }

    /// Whether the policy would still say yes.
    #[must_use]
    pub(crate) fn still_holds(&self, table: &Table) -> bool {
        let now = table.route(self.route.id.as_ref());
        now.as_ref().is_some_and(|now| now.uid == self.route.uid)
            && decide(self.viewer(), now.as_deref()) == Decision::Allow
    }
}

impl Table {
    /// Checks one request against the routes in force now.
    ///
    /// # Errors
    /// The decision, when it is not [`Decision::Allow`].
    pub(crate) fn authorize(
        &self,
        id: &InstanceId,
        signed_in: Option<SignedIn>,
    ) -> Result<Permit, Decision> {
        let route = self.named(id);
        let decision = decide(
            signed_in.as_ref().map(|signed_in| &signed_in.viewer),
            route.as_deref(),
        );
        match (decision, route) {
            (Decision::Allow, Some(route)) => Ok(Permit { route, signed_in }),
            (Decision::Allow, None) => Err(Decision::Hide),
            (Decision::SignIn | Decision::Hide, _) => Err(decision),
        }
    }
}

#[cfg(test)]
mod tests {
    use catalog::Role;

    use super::*;

    fn viewer(name: &str, role: Role) -> Viewer {
        Viewer {
            name: name.into(),
            role,
        }
    }

    #[test]
    fn the_whole_truth_table() {
        let route = |visibility| Route::example("sales", "alice", visibility);
        let private = route(Visibility::Private);
        let all_users = route(Visibility::AllUsers);
        let public = route(Visibility::Public);
        let owner = viewer("alice", Role::Full);
        let stranger = viewer("mallory", Role::Full);
        let admin = viewer("admin", Role::Admin);
        let alike = viewer("Alice", Role::Full);
        let cases = [
            ("nobody, public", None, Some(&public), Decision::Allow),
            (
                "nobody, all users",
                None,
                Some(&all_users),
                Decision::SignIn,
            ),
            ("nobody, private", None, Some(&private), Decision::SignIn),
            ("nobody, no such instance", None, None, Decision::SignIn),
            (
                "owner, public",
                Some(&owner),
                Some(&public),
                Decision::Allow,
            ),
            (
                "owner, all users",
                Some(&owner),
                Some(&all_users),
                Decision::Allow,
            ),
            (
                "owner, private",
                Some(&owner),
                Some(&private),
                Decision::Allow,
            ),
            (
                "owner, no such instance",
                Some(&owner),
                None,
                Decision::Hide,
            ),
            (
                "stranger, public",
                Some(&stranger),
                Some(&public),
                Decision::Allow,
            ),
            (
                "stranger, all users",
                Some(&stranger),
                Some(&all_users),
                Decision::Allow,
            ),
            (
                "stranger, private",
                Some(&stranger),
                Some(&private),
                Decision::Hide,
            ),
            (
                "stranger, no such instance",
                Some(&stranger),
                None,
                Decision::Hide,
            ),
            (
                "admin, public",
                Some(&admin),
                Some(&public),
                Decision::Allow,
            ),
            (
                "admin, all users",
                Some(&admin),
                Some(&all_users),
                Decision::Allow,
            ),
            (
                "admin, private",
                Some(&admin),
                Some(&private),
                Decision::Hide,
            ),
            (
                "admin, no such instance",
                Some(&admin),
                None,
                Decision::Hide,
            ),
            (
                "a name in another case, private",
                Some(&alike),
                Some(&private),
                Decision::Hide,
            ),
        ];
        for (name, viewer, route, decision) in cases {
            assert_eq!(decide(viewer, route), decision, "{name}");
        }
    }
}
