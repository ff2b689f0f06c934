//! The proof that the policy let somebody into an instance.

use std::sync::Arc;

use catalog::SessionKey;

use crate::InstanceId;
use crate::policy::{Action, Decision, decide};
use crate::table::{Route, Table};
use crate::viewer::{SignedIn, Viewer};

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

    /// Who enters and what proves it; none when the instance is public.
    #[must_use]
    pub(crate) fn signed_in(&self) -> Option<&SignedIn> {
        self.signed_in.as_ref()
    }

    /// Who enters; nobody in particular when the instance is public.
    #[must_use]
    pub(crate) fn viewer(&self) -> Option<&Viewer> {
        self.signed_in.as_ref().map(|signed_in| &signed_in.viewer)
    }

    /// Whether the policy would still say yes.
    #[must_use]
    pub(crate) fn still_holds(&self, table: &Table) -> bool {
        let now = table.route(self.route.id.as_ref());
        now.as_ref().is_some_and(|now| now.uid == self.route.uid)
            && decide(self.viewer(), enter(now.as_deref())) == Decision::Allow
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
            enter(route.as_deref()),
        );
        match (decision, route) {
            (Decision::Allow, Some(route)) => Ok(Permit { route, signed_in }),
            (Decision::Allow, None) => Err(Decision::Hide),
            (Decision::SignIn | Decision::Forbid | Decision::Hide, _) => Err(decision),
        }
    }
}

fn enter(route: Option<&Route>) -> Action<'_> {
    Action::Enter(route.map(Into::into))
}
