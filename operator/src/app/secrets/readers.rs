//! Whom a change of a Secret concerns.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;

use super::Reference;

/// Which apps name which Secrets.
#[derive(Default)]
pub(crate) struct Readers {
    by_app: Mutex<HashMap<String, BTreeSet<String>>>,
}

impl Readers {
    /// Notes what an app names. Before anybody looks at the Secrets, so that no change is missed in between.
    pub(crate) fn note(&self, app: &str, references: &[Reference]) {
        let names: BTreeSet<String> = references
            .iter()
            .map(|reference| reference.secret.clone())
            .collect();
        let mut by_app = self.by_app.lock();
        if names.is_empty() {
            by_app.remove(app);
        } else {
            by_app.insert(app.to_owned(), names);
        }
    }

    /// Forgets an app that is gone.
    pub(crate) fn forget(&self, app: &str) {
        self.by_app.lock().remove(app);
    }

    /// The apps that name `secret`.
    pub(crate) fn of(&self, secret: &str) -> Vec<String> {
        let by_app = self.by_app.lock();
        by_app
            .iter()
            .filter(|(_, names)| names.contains(secret))
            .map(|(app, _)| app.clone())
            .collect()
    }

    /// The apps that name any Secret.
    pub(crate) fn all(&self) -> Vec<String> {
        self.by_app.lock().keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_a_secret_concerns_the_apps_that_name_it() {
        let reference = |secret: &str| Reference {
            entry: "[[Env]] A".to_owned(),
            secret: secret.to_owned(),
            key: "a".to_owned(),
            optional: false,
        };
        let readers = Readers::default();
        readers.note("one", &[reference("shared"), reference("own")]);
        readers.note("two", &[reference("shared")]);
        readers.note("none", &[]);
        let sorted = |mut apps: Vec<String>| {
            apps.sort();
            apps
        };
        assert_eq!(sorted(readers.of("shared")), ["one", "two"]);
        assert_eq!(readers.of("own"), ["one"]);
        assert_eq!(sorted(readers.all()), ["one", "two"]);
        readers.note("one", &[]);
        readers.forget("two");
        assert!(readers.all().is_empty());
    }
}
