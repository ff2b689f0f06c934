//! Everything between the operator and the API server goes wrong while instances are made, changed and deleted.

use std::time::Duration;

use anyhow::{Context, Result};
use crds::WaveInstance;
use e2e::{Faults, Sandbox};
use kube::api::DeleteParams;

use crate::{dice, disk, last};

/// Instances that live through every fault, and those that come and go in each.
const OLD: usize = 4;

/// How long each fault lasts at least.
const FAULT: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_the_network_and_the_api_server_passes() -> Result<()> {
    let mut dice = dice("api faults")?;
    let sandbox = Sandbox::create("api-faults").await?;
    let proxy = sandbox.proxy().await?;
    let mut operator = sandbox.operator().through(&proxy).start().await?;
    let mut names = disk::running(&sandbox, "old", OLD as u64).await?;

    for (number, (what, fault)) in faults().into_iter().enumerate() {
        let volumes = sandbox.filled_volumes_of(&names[..OLD]).await?;
        let begun = tokio::time::Instant::now();
        proxy.set(fault);
        let round = async {
            // One comes, one that came in the last round goes, the others change.
            for name in names.iter().take(OLD) {
                disk::change(&sandbox, name, &mut dice).await?;
            }
            if names.len() > OLD {
                let gone = names.remove(OLD);
                let api = sandbox.api::<WaveInstance>();
                api.delete(&gone, &DeleteParams::default()).await?;
            }
            let new = format!("new-{number}");
            sandbox.apply(&new, disk::instance()).await?;
            names.push(new);
            last(FAULT / 2).await;
            for name in names.iter().take(OLD) {
                disk::change(&sandbox, name, &mut dice).await?;
            }
            last(FAULT / 2).await;
            proxy.set(Faults::default());
            sandbox.comes_to_rest(&names).await?;
            sandbox.kept_volumes(&volumes).await
        };
        operator.supervised(round).await.context(what)?;
        eprintln!(
            "{what}: at rest after {:.1} s",
            begun.elapsed().as_secs_f64()
        );
    }
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

/// What goes wrong, one after the other.
fn faults() -> [(&'static str, Faults); 8] {
    let none = Faults::default;
    [
        (
            "half of all writes are refused",
            Faults {
                refused_writes: 0.5,
                ..none()
            },
        ),
        (
            "writes succeed and are called conflicts",
            Faults {
                conflicts_after_writes: 0.3,
                ..none()
            },
        ),
        (
            "writes succeed and are not answered",
            Faults {
                resets_after_writes: 0.3,
                ..none()
            },
        ),
        (
            "requests are throttled",
            Faults {
                throttled: 0.5,
                retry_after: Duration::from_secs(1),
                ..none()
            },
        ),
        (
            "silence",
            Faults {
                silent: true,
                ..none()
            },
        ),
        (
            "a partition",
            Faults {
                black_hole: true,
                ..none()
            },
        ),
        (
            "watches end every second",
            Faults {
                watches_cut_after: Some(Duration::from_secs(1)),
                ..none()
            },
        ),
        (
            "lists are stale, and watches end every second",
            Faults {
                stale_lists: 1.0,
                watches_cut_after: Some(Duration::from_secs(1)),
                ..none()
            },
        ),
    ]
}
