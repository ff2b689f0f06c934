//! Of an instance's pods the one that counts, and those that have failed for good, such as by an eviction: their Deployment makes
//! others in their place and never deletes them, so a hundred evictions would leave a hundred pods.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams};
use tracing::info;

use super::context::Context;
use super::workload::PodSeen;
use crate::error::Error;

/// An instance's pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pods {
    /// The one that counts: the newest that stays, else the newest.
    pub(crate) current: Option<PodSeen>,
    /// Those that have failed for good, the newest first.
    pub(crate) failed: Vec<PodSeen>,
}

impl Pods {
    pub(crate) fn of(pods: &[PodSeen]) -> Self {
        let current = pods.iter().max_by_key(|pod| (!pod.deleting, pod.created));
        let mut failed: Vec<PodSeen> = pods
            .iter()
            .filter(|pod| pod.failed.is_some() && !pod.deleting)
            .cloned()
            .collect();
        failed.sort_by_key(|pod| std::cmp::Reverse(pod.created));
        Self {
            current: current.cloned(),
            failed,
        }
    }

    /// Why the last one failed for good in whose place there is another.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failed.first()?.failed.as_deref()
    }

    /// Names of those that tell nobody anything any more: all, once there is a pod that serves, or is to be none; before that the
    /// newest says why. The Deployment's word does not do: it comes later, and may still be on the pod that has failed.
    fn spent(&self, is_at_rest: bool) -> impl Iterator<Item = &str> {
        let serves = |pod: &PodSeen| pod.ready && pod.failed.is_none();
        let is_well = is_at_rest || self.current.as_ref().is_some_and(serves);
        let needed = usize::from(!is_well);
        self.failed.iter().skip(needed).map(|pod| &*pod.name)
    }
}

/// Deletes pods that have failed and tell nobody anything any more.
pub(super) async fn clear(
    ctx: &Context,
    instance: &str,
    pods: &Pods,
    is_at_rest: bool,
) -> Result<(), Error> {
    let api: Api<Pod> = ctx.api();
    for name in pods.spent(is_at_rest) {
        info!(
            instance.id = instance,
            "Deleting pod {name}, which has failed and was replaced"
        );
        match api.delete(name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(source) => {
                return Err(Error::Kube {
                    task: format!("delete the failed pod `{name}`"),
                    source,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api;
    use crate::instance::workload::ContainerSeen;

    fn pod(name: &str, second: i64, failed: Option<&str>) -> PodSeen {
        PodSeen {
            name: name.to_owned(),
            created: k8s_openapi::jiff::Timestamp::from_second(second).ok(),
            deleting: false,
            launcher: None,
            unschedulable: None,
            scheduled: true,
            ready: false,
            failed: failed.map(str::to_owned),
            container: ContainerSeen::Running,
            restarts: 0,
            last_end: None,
            memory_limit: None,
        }
    }

    #[test]
    fn the_newest_pod_that_stays_counts() {
        let ending = PodSeen {
            deleting: true,
            ..pod("ending", 3, None)
        };
        let pods = [pod("old", 1, None), pod("new", 2, None), ending];
        let name = |pods: &[PodSeen]| Pods::of(pods).current.map(|pod| pod.name);
        assert_eq!(name(&pods).as_deref(), Some("new"));
        assert_eq!(name(&pods[2..]).as_deref(), Some("ending"));
        assert_eq!(name(&[]), None);
    }

    #[tokio::test]
    async fn of_many_failed_pods_the_newest_stays_until_the_app_is_well() {
        let evicted = [
            pod("second", 2, Some("Evicted: full again")),
            pod("third", 3, Some("Evicted: full once more")),
            pod("first", 1, Some("Evicted: full")),
        ];
        let last = Pods::of(&evicted);
        assert_eq!(last.failure(), Some("Evicted: full once more"));
        let then = |ready| {
            let next = PodSeen {
                ready,
                ..pod("next", 4, None)
            };
            Pods::of(&[&evicted[..], &[next]].concat())
        };
        let all = vec!["third", "second", "first"];
        let cases = [
            (
                "there is no other yet",
                &last,
                false,
                vec!["second", "first"],
            ),
            (
                "another one starts",
                &then(false),
                false,
                vec!["second", "first"],
            ),
            ("another one serves", &then(true), false, all.clone()),
            ("there is to be none", &last, true, all),
        ];
        for (name, pods, is_at_rest, expected) in cases {
            // One of them is gone already.
            let (client, log) = fake_api::start(|line| {
                let is_gone = line.ends_with("second");
                (!is_gone).then(|| {
                    (
                        200,
                        serde_json::json!({"kind": "Status", "status": "Success"}),
                    )
                })
            })
            .await;
            let ctx = Context::for_tests(client);
            clear(&ctx, "sales", pods, is_at_rest).await.expect(name);
            let lines: Vec<String> = log.lock().iter().map(|asked| asked.line.clone()).collect();
            let expected: Vec<String> = expected
                .iter()
                .map(|pod| format!("DELETE /api/v1/namespaces/wavestore/pods/{pod}"))
                .collect();
            assert_eq!(lines, expected, "{name}");
        }
    }
}
