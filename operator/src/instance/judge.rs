//! The verdict: what Deployment, pod and launcher come to, in words for people.

use crds::SUSPENDED_PHASE;

use super::idle::Rest;
use super::launcher::{Answer, clean};
use super::pods::Pods;
use super::workload::{ContainerSeen, DeploymentSeen, End, PodSeen};

/// Restarts after which somebody has to change something.
const MANY_RESTARTS: u32 = 3;

/// The launcher's word for an app that runs and lets nobody in.
const HANGING: &str = "Not Responding";

/// Reasons of a pod that nothing is wrong with so far.
const ON_ITS_WAY: [&str; 3] = ["Scheduling", "Pulling", "Starting"];

/// Code of a container that was killed outright.
const KILLED: i32 = 137;

/// Most characters of what a pod says.
const MESSAGE_CHARS: usize = 2048;

/// How an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// It can be used, is on its way, or cannot go on.
    pub(crate) state: State,
    /// One word for programs.
    pub(crate) reason: String,
    /// A sentence for people.
    pub(crate) message: String,
    /// Where it stands, in the launcher's words; none keeps what was said last.
    pub(crate) phase: Option<String>,
}

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It can be used.
    Ready,
    /// It is on its way.
    Reconciling,
    /// Somebody has to change something.
    Stalled,
}

impl Verdict {
    pub(crate) fn new(state: State, reason: &str, message: impl Into<String>, phase: &str) -> Self {
        Self {
            state,
            reason: reason.to_owned(),
            message: message.into(),
            phase: Some(phase.to_owned()),
        }
    }
}

/// Judges an instance whose release is as wanted.
pub(crate) fn judge(
    rest: Option<Rest>,
    deployment: Option<DeploymentSeen>,
    pods: &Pods,
    launcher: Option<&Answer>,
) -> Verdict {
    if let Some(rest) = rest {
        return resting(rest);
    }
    let mut verdict = judge_pod(deployment, pods.current.as_ref(), launcher);
    // A new pod is no news of the app until it is ready, or cannot be.
    if let Some(why) = pods.failure()
        && ON_ITS_WAY.contains(&verdict.reason.as_str())
    {
        let phase = verdict.phase;
        verdict = Verdict {
            phase,
            ..pod_failed(why)
        };
    }
    let is_new = deployment.is_some_and(|deployment| deployment.rolled_out);
    if verdict.state == State::Stalled && !is_new {
        // It is the old pod that cannot go on; the new one may.
        return Verdict {
            state: State::Reconciling,
            ..verdict
        };
    }
    verdict
}

/// As it is to be, which is what kstatus calls current: tools that wait for it shall not wait for a visitor.
fn resting(rest: Rest) -> Verdict {
    let (reason, message) = match rest {
        Rest::Suspended => (
            "Suspended",
            "the instance is suspended (hint: set `spec.suspended` to false to resume it)",
        ),
        Rest::Asleep => ("Asleep", "nobody uses the app; it wakes at the next visit"),
    };
    Verdict::new(State::Ready, reason, message, SUSPENDED_PHASE)
}

fn judge_pod(
    deployment: Option<DeploymentSeen>,
    pod: Option<&PodSeen>,
    launcher: Option<&Answer>,
) -> Verdict {
    if deployment.is_some_and(|deployment| deployment.ready) {
        return Verdict::new(State::Ready, "Running", "the app is running", "Running");
    }
    let Some(pod) = pod.filter(|pod| !pod.deleting) else {
        return Verdict::new(
            State::Reconciling,
            "Scheduling",
            "waiting for a pod",
            "Scheduling",
        );
    };
    if let Some(why) = &pod.unschedulable {
        let message = format!("no node takes the pod: {}", clean(why, MESSAGE_CHARS));
        return Verdict::new(State::Reconciling, "Unschedulable", message, "Scheduling");
    }
    if let Some(why) = &pod.failed {
        return pod_failed(why);
    }
    match &pod.container {
        ContainerSeen::Unknown if !pod.scheduled => Verdict::new(
            State::Reconciling,
            "Scheduling",
            "waiting for a node",
            "Scheduling",
        ),
        ContainerSeen::Unknown => pulling(),
        ContainerSeen::Waiting(reason, why) => waiting(pod, reason, why),
        ContainerSeen::Ended(end) => failed(pod, end),
        ContainerSeen::Running => running(pod, launcher),
    }
}

/// Kubernetes has ended a pod, and starts another.
fn pod_failed(why: &str) -> Verdict {
    let said = clean(why, MESSAGE_CHARS);
    let said = said.trim_end_matches('.');
    let hint = remedy(said);
    let hint = hint.map(|hint| format!(" (hint: {hint})"));
    let message = format!("the pod failed: {said}{}", hint.unwrap_or_default());
    Verdict::new(State::Reconciling, "AppFailed", message, "Scheduling")
}

/// What to do when a node has ended a pod, by the node's words.
fn remedy(said: &str) -> Option<&'static str> {
    // The node's own want comes first: it names disk, too.
    if said.contains("low on resource: memory") || said.contains("MemoryPressure") {
        return Some(
            "its node has too little memory for all its pods: raise `[Runtime] MemoryReservation` in app.toml, or add nodes",
        );
    }
    if said.contains("low on resource") || said.contains("DiskPressure") {
        return Some(
            "its node has too little disk for all its pods: make room there, or lower `instances.disk` in the store's values",
        );
    }
    if said.contains("exceeds the limit") || said.contains("ephemeral") {
        return Some(
            "let the app keep less there, give it a volume by `VolumeMount` in app.toml, or raise `instances.disk` in the store's \
             values",
        );
    }
    None
}

fn pulling() -> Verdict {
    Verdict::new(
        State::Reconciling,
        "Pulling",
        "the node prepares the container",
        "Pulling The Image",
    )
}

fn waiting(pod: &PodSeen, reason: &str, why: &str) -> Verdict {
    match reason {
        "" | "ContainerCreating" | "PodInitializing" => pulling(),
        "CrashLoopBackOff" => match &pod.last_end {
            Some(end) => failed(pod, end),
            None => Verdict::new(
                State::Reconciling,
                "AppFailed",
                clean(why, MESSAGE_CHARS),
                "Restarting The Application",
            ),
        },
        "InvalidImageName" => Verdict::new(
            State::Stalled,
            reason,
            clean(why, MESSAGE_CHARS),
            "Pulling The Image",
        ),
        // The one comes and goes in the other; they are one outcome.
        "ErrImagePull" | "ImagePullBackOff" => Verdict::new(
            State::Reconciling,
            "ImagePullBackOff",
            clean(why, MESSAGE_CHARS),
            "Pulling The Image",
        ),
        _ => Verdict::new(
            State::Reconciling,
            reason,
            clean(why, MESSAGE_CHARS),
            "Pulling The Image",
        ),
    }
}

fn failed(pod: &PodSeen, end: &End) -> Verdict {
    let restarts = u32::try_from(pod.restarts).unwrap_or_default();
    let said = clean(&end.message, MESSAGE_CHARS);
    // The reason stays with a container one of whose processes was killed once, however it ends: by its code its launcher
    // has something else to say.
    let message = if end.reason == "OOMKilled" && end.code == KILLED {
        let limit = pod.memory_limit.as_ref();
        let limit = limit
            .map(|limit| format!(" of {limit}"))
            .unwrap_or_default();
        format!(
            "the app used more memory than its limit{limit}, and the kernel killed it (hint: raise `[Runtime] MemoryLimit` in app.toml, or choose a larger size)"
        )
    } else if said.is_empty() {
        format!(
            "the container ended with code {} and said nothing",
            end.code
        )
    } else {
        said
    };
    Verdict::new(
        restarted(restarts),
        "AppFailed",
        message,
        "Restarting The Application",
    )
}

fn running(pod: &PodSeen, launcher: Option<&Answer>) -> Verdict {
    let Some(answer) = launcher else {
        return match &pod.last_end {
            Some(end) => failed(pod, end),
            None => Verdict::new(
                State::Reconciling,
                "Starting",
                "waiting for the app to answer",
                "Starting",
            ),
        };
    };
    let phase = if answer.phase.is_empty() {
        "Starting"
    } else {
        &answer.phase
    };
    match (&answer.message, &pod.last_end) {
        (Some(message), _) if answer.restarts > 0 || phase == HANGING => {
            Verdict::new(restarted(answer.restarts), "AppFailed", message, phase)
        }
        // A new try is no news of the app until it is ready.
        (_, Some(end)) => Verdict {
            phase: Some(phase.to_owned()),
            ..failed(pod, end)
        },
        (Some(message), None) => Verdict::new(State::Reconciling, "Starting", message, phase),
        (None, None) => Verdict::new(State::Reconciling, "Starting", phase, phase),
    }
}

fn restarted(times: u32) -> State {
    if times >= MANY_RESTARTS {
        State::Stalled
    } else {
        State::Reconciling
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(container: ContainerSeen) -> PodSeen {
        PodSeen {
            name: "sales-1".to_owned(),
            created: None,
            deleting: false,
            launcher: Some("10.0.0.1".to_owned()),
            unschedulable: None,
            scheduled: true,
            ready: false,
            failed: None,
            container,
            restarts: 0,
            last_end: None,
            memory_limit: Some("128Mi".to_owned()),
        }
    }

    fn end(reason: &str, message: &str) -> End {
        End {
            code: if reason == "OOMKilled" { KILLED } else { 1 },
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one row a case")]
    fn every_pod_gets_its_verdict() {
        let waits =
            |reason: &str, why: &str| pod(ContainerSeen::Waiting(reason.into(), why.into()));
        let answer = |phase: &str, message: Option<&str>, restarts| Answer {
            phase: phase.to_owned(),
            message: message.map(str::to_owned),
            restarts,
        };
        let crashed = |restarts, end: End| PodSeen {
            restarts,
            last_end: Some(end),
            ..waits(
                "CrashLoopBackOff",
                "back-off 10s restarting failed container",
            )
        };
        let unready = DeploymentSeen {
            fingerprint: 0,
            replicas: 1,
            rolled_out: true,
            ready: false,
            environment: None,
        };
        let cases = [
            ("no pod yet", None, None),
            (
                "the old pod ends",
                Some(PodSeen {
                    deleting: true,
                    ..pod(ContainerSeen::Running)
                }),
                None,
            ),
            (
                "no node yet",
                Some(PodSeen {
                    scheduled: false,
                    ..pod(ContainerSeen::Unknown)
                }),
                None,
            ),
            (
                "no node takes it",
                Some(PodSeen {
                    unschedulable: Some("0/1 nodes are available: 1 Insufficient memory.".into()),
                    ..pod(ContainerSeen::Unknown)
                }),
                None,
            ),
            (
                "evicted",
                Some(PodSeen {
                    failed: Some("Evicted: low on memory".into()),
                    ..pod(ContainerSeen::Unknown)
                }),
                None,
            ),
            ("created", Some(waits("ContainerCreating", "")), None),
            (
                "no image",
                Some(waits("ImagePullBackOff", "Back-off pulling image \"x\"")),
                None,
            ),
            (
                "bad image",
                Some(waits("InvalidImageName", "could not parse")),
                None,
            ),
            (
                "secret missing",
                Some(waits(
                    "CreateContainerConfigError",
                    "secret \"database\" not found",
                )),
                None,
            ),
            ("launcher silent", Some(pod(ContainerSeen::Running)), None),
            (
                "installing",
                Some(pod(ContainerSeen::Running)),
                Some(answer("Installing Application Dependencies", None, 0)),
            ),
            (
                "the launcher's second try",
                Some(PodSeen {
                    restarts: 1,
                    last_end: Some(end("Error", "No matching distribution found for nope==9")),
                    ..pod(ContainerSeen::Running)
                }),
                Some(answer("Installing Application Dependencies", None, 0)),
            ),
            (
                "app restarted by the launcher",
                Some(pod(ContainerSeen::Running)),
                Some(answer(
                    "Restarting The Application",
                    Some("ModuleNotFoundError: No module named 'x'"),
                    1,
                )),
            ),
            (
                "app restarted often",
                Some(pod(ContainerSeen::Running)),
                Some(answer(
                    "Restarting The Application",
                    Some("ModuleNotFoundError: No module named 'x'"),
                    3,
                )),
            ),
            (
                "the app hangs, and another container was killed long ago",
                Some(PodSeen {
                    restarts: 1,
                    last_end: Some(end("OOMKilled", "")),
                    ..pod(ContainerSeen::Running)
                }),
                Some(answer(
                    HANGING,
                    Some("the app has let somebody wait for 60s"),
                    0,
                )),
            ),
            (
                "launcher gave up",
                Some(crashed(
                    1,
                    end("Error", "No matching distribution found for nope==9"),
                )),
                None,
            ),
            (
                "launcher gave up often",
                Some(crashed(
                    4,
                    end("Error", "No matching distribution found for nope==9"),
                )),
                None,
            ),
            (
                "killed for memory",
                Some(crashed(1, end("OOMKilled", ""))),
                None,
            ),
            (
                "killed for memory, and no limit is known",
                Some(PodSeen {
                    memory_limit: None,
                    ..crashed(1, end("OOMKilled", "the last lines of its log"))
                }),
                None,
            ),
            (
                "a process was killed for memory once, and something else came later",
                Some(crashed(
                    1,
                    End {
                        code: 1,
                        ..end("OOMKilled", "the app ended with code 1: KeyError: 'x'")
                    },
                )),
                None,
            ),
            ("died in silence", Some(crashed(1, end("Error", ""))), None),
        ];
        let lines: Vec<String> = cases
            .into_iter()
            .map(|(name, pod, answer)| {
                let Verdict {
                    state,
                    reason,
                    message,
                    phase,
                } = judge(
                    None,
                    Some(unready),
                    &Pods::of(pod.as_slice()),
                    answer.as_ref(),
                );
                format!(
                    "{name}: {state:?} {reason} [{}] {message}",
                    phase.unwrap_or_default()
                )
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn ready_is_what_the_deployment_says() {
        let ready = DeploymentSeen {
            fingerprint: 0,
            replicas: 1,
            rolled_out: true,
            ready: true,
            environment: None,
        };
        let verdict = judge(None, Some(ready), &Pods::default(), None);
        assert_eq!(
            (verdict.state, verdict.phase.as_deref()),
            (State::Ready, Some("Running"))
        );
    }

    #[test]
    fn an_instance_at_rest_is_as_wanted_and_says_why() {
        for (rest, reason) in [(Rest::Suspended, "Suspended"), (Rest::Asleep, "Asleep")] {
            // The last pod may still be ending.
            let verdict = judge(
                Some(rest),
                None,
                &Pods::of(&[pod(ContainerSeen::Running)]),
                None,
            );
            assert_eq!(
                (
                    verdict.state,
                    verdict.reason.as_str(),
                    verdict.phase.as_deref()
                ),
                (State::Ready, reason, Some("Suspended"))
            );
        }
    }

    #[test]
    fn an_old_pod_that_cannot_go_on_says_nothing_of_the_new_one() {
        let crashed = PodSeen {
            restarts: 9,
            last_end: Some(end("Error", "no")),
            ..pod(ContainerSeen::Waiting(
                "CrashLoopBackOff".into(),
                String::new(),
            ))
        };
        let cases = [(true, State::Stalled), (false, State::Reconciling)];
        for (rolled_out, expected) in cases {
            let deployment = DeploymentSeen {
                fingerprint: 0,
                replicas: 1,
                rolled_out,
                ready: false,
                environment: None,
            };
            let verdict = judge(
                None,
                Some(deployment),
                &Pods::of(std::slice::from_ref(&crashed)),
                None,
            );
            assert_eq!(
                (verdict.state, verdict.message.as_str()),
                (expected, "no"),
                "{rolled_out}"
            );
        }
    }

    #[test]
    fn why_a_pod_was_evicted_is_told_until_the_next_one_is_ready_or_cannot_be() {
        let evicted = |why: &str| PodSeen {
            failed: Some(format!("Evicted: {why}")),
            ..pod(ContainerSeen::Unknown)
        };
        let next = |pod: PodSeen| PodSeen {
            name: "sales-2".to_owned(),
            created: k8s_openapi::jiff::Timestamp::from_second(9).ok(),
            ..pod
        };
        let full = r#"Usage of EmptyDir volume "tmp" exceeds the limit "10Gi". "#;
        let told = "the pod failed: Evicted: Usage of EmptyDir volume \"tmp\" exceeds the limit \"10Gi\" (hint: let the app keep less \
                    there, give it a volume by `VolumeMount` in app.toml, or raise `instances.disk` in the store's values)";
        let waiting =
            |reason: &str, why: &str| next(pod(ContainerSeen::Waiting(reason.into(), why.into())));
        let cases = [
            ("there is no other yet", full, None, told, "Scheduling"),
            (
                "another one starts",
                full,
                Some(next(pod(ContainerSeen::Running))),
                told,
                "Starting",
            ),
            (
                "another one is prepared",
                full,
                Some(waiting("ContainerCreating", "")),
                told,
                "Pulling The Image",
            ),
            (
                "another one cannot start",
                full,
                Some(waiting("ErrImagePull", "no such image")),
                "no such image",
                "Pulling The Image",
            ),
            (
                "the node has no memory",
                "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi. ",
                None,
                "the pod failed: Evicted: The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi (hint: its \
                 node has too little memory for all its pods: raise `[Runtime] MemoryReservation` in app.toml, or add nodes)",
                "Scheduling",
            ),
            (
                "the node has no disk",
                "The node had condition: [DiskPressure]. ",
                None,
                "the pod failed: Evicted: The node had condition: [DiskPressure] (hint: its node has too little disk for all its pods: \
                 make room there, or lower `instances.disk` in the store's values)",
                "Scheduling",
            ),
        ];
        for (name, why, other, message, phase) in cases {
            let pods: Vec<PodSeen> = [Some(evicted(why)), other].into_iter().flatten().collect();
            let verdict = judge(None, None, &Pods::of(&pods), None);
            assert_eq!(
                (verdict.message.as_str(), verdict.phase.as_deref()),
                (message, Some(phase)),
                "{name}"
            );
        }
    }
}
