//! A model of one instance in a cluster: whoever writes, whatever they do, wherever a process dies, the plan brings all of it
//! back to what the spec says. Time, watches and Helm are played; the plan is the real one.

use crds::{AppRef, Visibility, WaveInstanceSpec};
use proptest::prelude::*;

use super::idle::{self, Use};
use super::plan::{Action, AppState, Objects, Observed, Plan, plan};
use super::workload::DeploymentSeen;
use crate::helm::releases::{CHART, Content, Release, ResolvedValue, Status};

/// Ticks that a run of Helm may take.
const HELM_TIMEOUT: u32 = 10;

/// Ticks for which a watch may lag behind our own run.
const CACHE_GRACE: u32 = 15;

/// What somebody does, or what happens.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// Somebody creates the instance, or edits its spec: kubectl, GitOps or the web.
    Write(u8),
    Delete,
    /// Somebody says that it is to be deleted after so many ticks.
    DeleteAfter(u32),
    /// Somebody takes that back.
    Undo,
    /// Somebody removes the instance with its finalizer.
    TearOut,
    CliUpgrade(u8),
    CliUninstall,
    /// Somebody edits or deletes the Deployment.
    Touch,
    /// Somebody sets the number of pods.
    ScaleByHand(i32),
    /// Somebody uses the instance.
    Visit,
    /// Nobody has used it for long.
    Neglect,
    /// A live run of Helm gets one step further.
    RunHelm,
    /// The live run of Helm is killed, whoever began it.
    KillHelm,
    /// The operator is killed, and the Helm that it runs with it; it starts again.
    KillOperator,
    /// The operator looks, decides, and acts.
    Step,
    ShowInstance,
    ShowRelease,
    ShowObjects,
    Tick,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0_u8..8).prop_map(Event::Write),
        1 => Just(Event::Delete),
        1 => (0_u32..20).prop_map(Event::DeleteAfter),
        2 => Just(Event::Undo),
        1 => Just(Event::TearOut),
        2 => (0_u8..8).prop_map(Event::CliUpgrade),
        1 => Just(Event::CliUninstall),
        2 => Just(Event::Touch),
        1 => (0_i32..3).prop_map(Event::ScaleByHand),
        2 => Just(Event::Visit),
        2 => Just(Event::Neglect),
        8 => Just(Event::RunHelm),
        2 => Just(Event::KillHelm),
        2 => Just(Event::KillOperator),
        8 => Just(Event::Step),
        4 => Just(Event::ShowInstance),
        4 => Just(Event::ShowRelease),
        4 => Just(Event::ShowObjects),
        2 => Just(Event::Tick),
    ]
}

/// One of eight specs: two versions, each private or public, up or suspended.
fn spec(number: u8) -> WaveInstanceSpec {
    WaveInstanceSpec {
        app: AppRef {
            name: "hello".to_owned(),
            version: (number / 2 % 2).to_string(),
        },
        owner: "alice".to_owned(),
        visibility: match number % 2 {
            0 => Visibility::Private,
            _ => Visibility::Public,
        },
        suspended: is_suspended(number),
        size: None,
    }
}

fn is_suspended(number: u8) -> bool {
    number >= 4
}

#[derive(Debug, Clone, PartialEq)]
struct Instance {
    spec: u8,
    deleting: bool,
    /// When it is to be deleted.
    delete_at: Option<u32>,
    has_finalizer: bool,
}

/// What of it counts for drift: not the number of pods.
fn looks(workload: Option<&Workload>) -> Option<u32> {
    workload.map(|workload| workload.version)
}

#[derive(Debug, Clone, PartialEq)]
struct Record {
    revision: u32,
    status: Status,
    spec: u8,
    is_ours: bool,
    /// The operator has marked that it uninstalls it.
    is_marked: bool,
    /// Counts writes.
    version: u32,
}

/// Deployment, Service and volume.
#[derive(Debug, Clone, PartialEq)]
struct Workload {
    /// Counts changes.
    version: u32,
    as_rendered: bool,
    replicas: i32,
}

#[derive(Debug, Clone, PartialEq)]
struct Run {
    is_ours: bool,
    verb: Verb,
    /// Steps that are done.
    stage: u8,
    revision: u32,
    began: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Verb {
    Apply(u8),
    Uninstall,
}

/// What the operator knows: its watches, and its memory.
#[derive(Debug, Default)]
struct Operator {
    instance: Option<Instance>,
    record: Option<Record>,
    workload: Option<Workload>,
    made: Option<(u32, u32)>,
    /// It has run Helm since it started.
    ran: bool,
    /// Version of the record, and since when it is seen.
    since: Option<(u32, u32)>,
    /// Revision, workload, and whether it was as rendered.
    compared: Option<(u32, Option<Workload>, bool)>,
    retry_at: u32,
}

#[derive(Debug, Default)]
struct World {
    instance: Option<Instance>,
    records: Vec<Record>,
    workload: Option<Workload>,
    run: Option<Run>,
    is_idle: bool,
    operator: Operator,
    clock: u32,
    changes: u32,
}

impl World {
    fn latest(&self) -> Option<Record> {
        self.records.last().cloned()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Write(number) => match &mut self.instance {
                Some(instance) => instance.spec = number,
                None => self.create(number),
            },
            Event::Delete => {
                if let Some(instance) = &mut self.instance {
                    instance.deleting = true;
                    let gone = !instance.has_finalizer;
                    self.instance = self.instance.take().filter(|_| !gone);
                }
            }
            Event::DeleteAfter(ticks) => {
                if let Some(instance) = &mut self.instance {
                    instance.delete_at = Some(self.clock + ticks);
                }
            }
            Event::Undo => {
                if let Some(instance) = &mut self.instance {
                    instance.delete_at = None;
                }
            }
            Event::TearOut => self.instance = None,
            Event::CliUpgrade(number) => self.start(false, Verb::Apply(number)),
            Event::CliUninstall => self.start(false, Verb::Uninstall),
            Event::Touch => {
                self.changes += 1;
                if let Some(workload) = &mut self.workload {
                    workload.version = self.changes;
                    workload.as_rendered = false;
                }
            }
            Event::ScaleByHand(replicas) => self.scale(replicas),
            Event::Visit => self.is_idle = false,
            Event::Neglect => self.is_idle = true,
            Event::RunHelm => self.run_helm(),
            Event::KillHelm => {
                if let Some(run) = self.run.take()
                    && run.is_ours
                {
                    self.operator.retry_at = self.clock + 1;
                }
            }
            Event::KillOperator => {
                self.run = self.run.take().filter(|run| !run.is_ours);
                self.operator = Operator::default();
                self.show();
            }
            Event::Step => self.step(),
            Event::ShowInstance => self.operator.instance = self.instance.clone(),
            Event::ShowRelease => self.show_release(),
            Event::ShowObjects => self.operator.workload = self.workload.clone(),
            Event::Tick => self.tick(1),
        }
    }

    fn scale(&mut self, replicas: i32) {
        if let Some(workload) = &mut self.workload {
            workload.replicas = replicas;
        }
    }

    fn create(&mut self, number: u8) {
        self.instance = Some(Instance {
            spec: number,
            deleting: false,
            delete_at: None,
            has_finalizer: false,
        });
    }

    fn show(&mut self) {
        self.operator.instance = self.instance.clone();
        self.show_release();
        self.operator.workload = self.workload.clone();
    }

    fn show_release(&mut self) {
        self.operator.record = self.latest();
        let seen = self.operator.record.as_ref().map(|record| record.version);
        if self.operator.since.map(|(seen, _)| seen) != seen {
            self.operator.since = seen.map(|seen| (seen, self.clock));
        }
    }

    /// The operator has seen the release as it is for longer than Helm may run.
    fn is_old(&self) -> bool {
        let since = self.operator.since;
        since.is_some_and(|(_, since)| self.clock - since > HELM_TIMEOUT)
    }

    fn tick(&mut self, ticks: u32) {
        self.clock += ticks;
        // Longer than that nobody's Helm runs.
        if self
            .run
            .as_ref()
            .is_some_and(|run| self.clock - run.began >= HELM_TIMEOUT)
        {
            self.happen(Event::KillHelm);
        }
    }

    fn start(&mut self, is_ours: bool, verb: Verb) {
        let may_start = match (&self.run, self.latest()) {
            (Some(run), _) => {
                assert!(!is_ours || !run.is_ours, "two runs of ours at once");
                // Helm has no lock but its records; what no record shows, such as a run that begins at the same moment, nobody
                // can know, and Helm sorts it out.
                let shows = self.latest().is_some_and(|record| {
                    record.status.is_pending() || record.status == Status::Uninstalling
                });
                // Two that uninstall what is to go do each other no harm.
                let is_harmless = verb == Verb::Uninstall && run.verb == Verb::Uninstall;
                assert!(
                    !is_ours || run.stage == 0 || !shows || is_harmless,
                    "ours begins while another run is at work"
                );
                false
            }
            // As Helm itself says it.
            (None, Some(record)) if record.status.is_pending() => {
                matches!(verb, Verb::Uninstall)
            }
            (None, Some(_)) => true,
            (None, None) => matches!(verb, Verb::Apply(_)),
        };
        if !may_start {
            if is_ours {
                self.operator.retry_at = self.clock + 1;
            }
            return;
        }
        self.run = Some(Run {
            is_ours,
            verb,
            stage: 0,
            revision: self.records.last().map_or(0, |record| record.revision) + 1,
            began: self.clock,
        });
    }

    fn run_helm(&mut self) {
        let Some(mut run) = self.run.take() else {
            return;
        };
        let clock = self.clock;
        let is_over = match (run.verb, run.stage) {
            (Verb::Apply(number), 0) => {
                self.changes += 1;
                self.records.push(Record {
                    revision: run.revision,
                    status: match run.revision {
                        1 => Status::PendingInstall,
                        _ => Status::PendingUpgrade,
                    },
                    spec: number,
                    is_ours: run.is_ours,
                    is_marked: false,
                    version: self.changes,
                });
                false
            }
            (Verb::Apply(number), 1) => {
                self.changes += 1;
                // The chart says nothing of the number of pods of what is not suspended; a field that is dropped goes back to
                // its default.
                let mut before = self.records.iter().rev().skip(1);
                let was_zero =
                    before.any(|old| old.status == Status::Deployed && is_suspended(old.spec));
                let replicas = match &self.workload {
                    _ if is_suspended(number) => 0,
                    Some(workload) if !was_zero => workload.replicas,
                    Some(_) | None => 1,
                };
                self.workload = Some(Workload {
                    version: self.changes,
                    as_rendered: true,
                    replicas,
                });
                match &mut self.instance {
                    // The policy: the operator never changes a spec.
                    Some(instance) if run.is_ours && instance.spec != number => {
                        self.set_status(run.revision, Status::Failed);
                        true
                    }
                    Some(instance) => {
                        instance.spec = number;
                        false
                    }
                    None => {
                        self.create(number);
                        false
                    }
                }
            }
            (Verb::Apply(_), _) => {
                for record in &mut self.records {
                    if record.status == Status::Deployed {
                        record.status = Status::Superseded;
                    }
                }
                self.set_status(run.revision, Status::Deployed);
                if run.is_ours {
                    self.operator.made = Some((run.revision, clock));
                    self.operator.compared = None;
                    self.operator.retry_at = 0;
                }
                true
            }
            (Verb::Uninstall, 0) => {
                let revision = run.revision - 1;
                self.set_status(revision, Status::Uninstalling);
                false
            }
            (Verb::Uninstall, 1) => {
                self.workload = None;
                self.happen(Event::Delete);
                false
            }
            (Verb::Uninstall, _) => {
                self.records.clear();
                if run.is_ours && self.instance.as_ref().is_some_and(|it| it.deleting) {
                    self.instance = None;
                    self.operator.made = None;
                    self.operator.ran = false;
                }
                true
            }
        };
        run.stage += 1;
        self.run = (!is_over).then_some(run);
    }

    fn set_status(&mut self, revision: u32, status: Status) {
        self.changes += 1;
        for record in &mut self.records {
            if record.revision == revision {
                record.status = status;
                record.version = self.changes;
            }
        }
    }

    fn mark_uninstall(&mut self) {
        self.changes += 1;
        if let Some(record) = self.records.last_mut() {
            record.is_marked = true;
            record.version = self.changes;
        }
    }

    fn observe(&self, instance: &Instance) -> Observed {
        let operator = &self.operator;
        let record = operator.record.as_ref();
        let shown = record.map_or(0, |record| record.revision);
        let revision = shown;
        let objects = match (&operator.workload, &operator.compared) {
            (None, _) if instance.deleting => Objects::Absent,
            (workload, Some((compared, of, as_rendered)))
                if *compared == revision && looks(of.as_ref()) == looks(workload.as_ref()) =>
            {
                if *as_rendered {
                    Objects::AsRendered
                } else {
                    Objects::Drifted
                }
            }
            (None, _) => Objects::Absent,
            (Some(_), None) if operator.made.is_some_and(|(made, _)| made == revision) => {
                Objects::JustMade
            }
            (Some(_), _) => Objects::Changed,
        };
        Observed {
            deleting: instance.deleting,
            due: instance.delete_at.is_some_and(|at| at <= self.clock),
            spec: spec(instance.spec),
            app: AppState::Runnable,
            release: record.map(|record| Release {
                revision: record.revision,
                status: record.status,
                is_ours: record.is_marked
                    || (record.is_ours && record.status != Status::Uninstalling),
                resource_version: record.version.to_string(),
                content: Ok(Content {
                    chart: CHART.to_owned(),
                    chart_version: String::new(),
                    spec: Ok(spec(record.spec)),
                    resolved: Some(ResolvedValue {
                        app: spec(record.spec).app,
                        redeploy: None,
                        environment: None,
                        hash: 0,
                    }),
                    description: String::new(),
                }),
            }),
            cache_behind: operator.made.is_some_and(|(made, at)| {
                let is_pending = record.is_some_and(|record| record.status.is_pending());
                let is_behind = shown < made || (shown == made && is_pending);
                is_behind && self.clock - at < CACHE_GRACE
            }),
            // As the first process of its container, the operator takes its Helm along.
            run_over: true,
            release_is_old: self.is_old(),
            objects,
            scale: idle::scale(
                is_suspended(instance.spec),
                if self.is_idle {
                    Use::Idle
                } else {
                    Use::Uncounted
                },
                operator.workload.as_ref().map(|workload| DeploymentSeen {
                    fingerprint: 0,
                    replicas: workload.replicas,
                    rolled_out: true,
                    ready: workload.replicas > 0,
                    environment: None,
                }),
            ),
            backing_off: self.clock < operator.retry_at,
            redeploy: None,
            outdated: false,
            lacks_environment: false,
            over_limit: false,
        }
    }

    /// One reconciliation, as `reconcile` and `execute` do it.
    fn step(&mut self) {
        // One at a time for each instance.
        if self.run.as_ref().is_some_and(|run| run.is_ours) {
            return;
        }
        let Some(seen) = self.operator.instance.clone() else {
            return;
        };
        if !seen.has_finalizer {
            // Only on the very version that was looked at.
            if !seen.deleting && self.instance.as_ref() == Some(&seen) {
                self.instance = Some(Instance {
                    has_finalizer: true,
                    ..seen
                });
            }
            return;
        }
        let Plan { action, .. } = plan(&self.observe(&seen));
        match action {
            Action::Apply | Action::ApplyKept => {
                let is_first = self.operator.record.is_none() && !self.operator.ran;
                let may_run = if is_first {
                    // Helm installs nothing where there is a record.
                    self.records.is_empty()
                } else {
                    self.confirm()
                };
                self.operator.ran = true;
                if may_run {
                    self.start(true, Verb::Apply(seen.spec));
                }
            }
            Action::Verify => {
                let as_rendered = self.workload.as_ref().is_some_and(|it| it.as_rendered);
                let revision = self.operator.record.as_ref().map_or(0, |it| it.revision);
                self.operator.compared =
                    Some((revision, self.operator.workload.clone(), as_rendered));
            }
            Action::Scale(to) => self.scale(to.replicas()),
            Action::DropPending { revision } => {
                // Nothing but what was seen.
                let seen = self.operator.record.as_ref().map(|record| record.version);
                if self.latest().map(|record| record.version) == seen {
                    let alive = self.run.as_ref().is_some_and(|run| {
                        run.stage > 0 && run.revision == revision && run.verb != Verb::Uninstall
                    });
                    assert!(!alive, "a live run's record is dropped");
                    self.records.pop();
                }
            }
            Action::Delete => {
                // Only the very version that was looked at.
                if let Some(instance) = &mut self.instance
                    && *instance == seen
                {
                    let is_due = instance.delete_at.is_some_and(|at| at <= self.clock);
                    assert!(is_due, "an undo is lost");
                    instance.deleting = true;
                }
            }
            Action::Uninstall => {
                let status = self.operator.record.as_ref().map(|record| record.status);
                assert!(
                    seen.deleting || status == Some(Status::Uninstalling),
                    "uninstalled to repair"
                );
                if self.confirm() {
                    self.mark_uninstall();
                    self.start(true, Verb::Uninstall);
                }
            }
            Action::Finish => {
                assert!(seen.deleting);
                if self.confirm() {
                    if self.latest().is_none() {
                        self.workload = None;
                    } else if self.operator.record.is_none() {
                        // Only superseded revisions.
                        self.workload = None;
                        self.records.clear();
                    }
                    if self.instance.as_ref().is_some_and(|it| it.deleting) {
                        self.instance = None;
                    }
                    self.operator.made = None;
                    self.operator.ran = false;
                }
            }
            Action::Wait | Action::Block | Action::Nothing => {}
        }
    }

    /// The last look at the API server before something is done.
    fn confirm(&self) -> bool {
        let latest = self.latest();
        let shown = self.operator.record.as_ref();
        match &latest {
            Some(record) if record.status == Status::Superseded => shown.is_none(),
            latest => latest.as_ref() == shown,
        }
    }

    /// As `torn_out` does it.
    fn restore(&mut self) {
        let (None, None, Some(record)) = (&self.instance, &self.run, self.latest()) else {
            return;
        };
        let is_old = self.is_old();
        match record.status {
            Status::Deployed => self.create(record.spec),
            status if status.is_pending() && is_old => self.create(record.spec),
            Status::Uninstalling if is_old => self.start(true, Verb::Uninstall),
            _ => {}
        }
    }

    /// All is quiet, and everything that was begun comes to its end.
    fn settle(&mut self) {
        for _ in 0..60 {
            for _ in 0..4 {
                self.run_helm();
            }
            self.tick(HELM_TIMEOUT + 1);
            self.restore();
            self.show();
            self.step();
        }
    }

    fn check(&self) {
        let latest = self.latest();
        let Some(instance) = &self.instance else {
            // What somebody else's Helm has failed to install is theirs to look at.
            let is_theirs = latest.is_none_or(|record| record.status == Status::Failed);
            assert!(is_theirs, "a release without an instance: {self:#?}");
            return;
        };
        assert!(!instance.deleting, "never deleted: {self:#?}");
        let is_due = instance.delete_at.is_some_and(|at| at <= self.clock);
        assert!(!is_due, "not deleted in time: {self:#?}");
        let record = latest.unwrap_or_else(|| panic!("no release: {self:#?}"));
        assert_eq!(record.status, Status::Deployed, "{self:#?}");
        assert_eq!(record.spec, instance.spec, "{self:#?}");
        let replicas = self.workload.as_ref().map(|it| it.replicas);
        let wanted = i32::from(!is_suspended(instance.spec) && !self.is_idle);
        assert_eq!(replicas, Some(wanted), "{self:#?}");
        let as_rendered = self.workload.as_ref().is_some_and(|it| it.as_rendered);
        assert!(as_rendered, "objects are not as rendered: {self:#?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_it_comes_to_what_the_spec_says(
        events in prop::collection::vec(event(), 1..80)
    ) {
        let mut world = World::default();
        for event in events {
            world.happen(event);
        }
        world.settle();
        world.check();
    }
}
