//! `plan`: the next step towards the environment of an app.

#![deny(clippy::wildcard_enum_match_arm)]

use catalog::Digest;

use super::job::Outcome;

/// How often in a row a build may fail, until the `WaveApp` changes.
pub(in crate::app) const FAILURES: u32 = 3;

/// What is seen of an environment.
#[derive(Debug, Clone)]
pub(super) struct Observed {
    /// Its digest, when the status of an app has one.
    pub(super) built: Option<Digest>,
    /// Whether the store has something under its key.
    pub(super) is_stored: bool,
    /// The job that builds it, if there is one.
    pub(super) job: Option<Outcome>,
    /// How often building it has failed since the app was changed.
    pub(super) failures: u32,
    /// Whether a job may run now.
    pub(super) has_place: bool,
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// Instances get what is there.
    Use(Digest),
    /// Make the job.
    Start,
    /// Others come first.
    Queue,
    /// The job is at work.
    Wait,
    /// It was in vain, for this reason.
    Fail(String),
    /// It was in vain too often.
    GiveUp,
}

/// Decides. What the store has counts only together with a digest that it has not told itself.
pub(super) fn plan(seen: Observed) -> Plan {
    let Observed {
        built,
        is_stored,
        job,
        failures,
        has_place,
    } = seen;
    if let Some(digest) = built.filter(|_| is_stored) {
        return Plan::Use(digest);
    }
    match job {
        Some(Outcome::Running) => Plan::Wait,
        Some(Outcome::Built(digest)) if is_stored => Plan::Use(digest),
        Some(Outcome::Built(_)) => {
            Plan::Fail("the job has ended, and the store does not have its environment".to_owned())
        }
        Some(Outcome::Failed(words)) => Plan::Fail(words),
        None if failures >= FAILURES => Plan::GiveUp,
        None if has_place => Plan::Start,
        None => Plan::Queue,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::too_many_lines, reason = "one row a case")]
    fn every_observation_has_its_next_step() {
        use {Outcome as O, Plan as P};
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let fail = |words: &str| P::Fail(words.to_owned());
        let failed = || Some(O::Failed("no such package".to_owned()));
        let lost = "the job has ended, and the store does not have its environment";
        let (stored, free) = (true, true);
        let cases = [
            ("nothing was built", None, !stored, None, 0, free, P::Start),
            ("others come first", None, !stored, None, 0, !free, P::Queue),
            ("it is built", Some(one), stored, None, 0, free, P::Use(one)),
            (
                "the store lost it",
                Some(one),
                !stored,
                None,
                0,
                free,
                P::Start,
            ),
            (
                "nobody told its digest",
                None,
                stored,
                None,
                0,
                free,
                P::Start,
            ),
            (
                "it runs",
                None,
                !stored,
                Some(O::Running),
                0,
                !free,
                P::Wait,
            ),
            (
                "it has stored",
                None,
                stored,
                Some(O::Running),
                0,
                free,
                P::Wait,
            ),
            (
                "it has built",
                None,
                stored,
                Some(O::Built(one)),
                0,
                free,
                P::Use(one),
            ),
            (
                "another build",
                Some(one),
                !stored,
                Some(O::Built(two)),
                0,
                free,
                fail(lost),
            ),
            (
                "it only says so",
                None,
                !stored,
                Some(O::Built(one)),
                0,
                free,
                fail(lost),
            ),
            (
                "it has failed",
                None,
                !stored,
                failed(),
                0,
                free,
                fail("no such package"),
            ),
            (
                "and has stored",
                None,
                stored,
                failed(),
                0,
                free,
                fail("no such package"),
            ),
            ("it failed twice", None, !stored, None, 2, free, P::Start),
            ("too often", None, !stored, None, FAILURES, free, P::GiveUp),
            (
                "but is there",
                Some(one),
                stored,
                None,
                FAILURES,
                free,
                P::Use(one),
            ),
        ];
        for (name, built, is_stored, job, failures, has_place, expected) in cases {
            let seen = Observed {
                built,
                is_stored,
                job,
                failures,
                has_place,
            };
            assert_eq!(plan(seen), expected, "{name}");
        }
    }
}
