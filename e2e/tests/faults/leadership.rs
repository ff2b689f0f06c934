//! Of several operators one acts, whatever becomes of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crds::Visibility;
use e2e::{Faults, Operator, Sandbox, eventually, instance};
use k8s_openapi::api::coordination::v1::Lease;

use crate::{held_helm::HeldHelm, release::has_history};

/// From the death of the leader to the next, on a machine that has other things to do as well.
const TAKEOVER: Duration = Duration::from_secs(15);

/// The same after SIGTERM, with as much slack for such a machine.
const HANDOVER: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn another_acts_when_the_leader_is_killed_or_stopped() -> Result<()> {
    let sandbox = Sandbox::create("leadership").await?;
    let mut first = start(&sandbox, "first").await?;
    leads(&sandbox, "first").await?;
    let mut second = start(&sandbox, "second").await?;
    sandbox.publish("hello", "alice").await?;
    apply(&sandbox, "one").await?;
    has_history(&sandbox, "one", "1 deployed").await?;

    let killed = Instant::now();
    first.kill().await?;
    apply(&sandbox, "two").await?;
    leads(&sandbox, "second").await?;
    let took = killed.elapsed();
    eprintln!("another leads {took:?} after kill -9");
    ensure!(took < TAKEOVER, "it took {took:?}");
    has_history(&sandbox, "two", "1 deployed").await?;

    let mut third = start(&sandbox, "third").await?;
    let stopped = Instant::now();
    second.terminate().await?;
    leads(&sandbox, "third").await?;
    let took = stopped.elapsed();
    eprintln!("another leads {took:?} after SIGTERM");
    ensure!(took < HANDOVER, "it took {took:?}");
    ensure!(
        !second.log()?.contains("lost the lease"),
        "it was not given back"
    );
    apply(&sandbox, "three").await?;
    has_history(&sandbox, "three", "1 deployed").await?;
    // Nobody has run Helm for what was as it should be.
    has_history(&sandbox, "one", "1 deployed").await?;
    third.terminate().await?;
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_leader_has_ended_before_another_acts() -> Result<()> {
    let sandbox = Sandbox::create("partition").await?;
    let proxy = sandbox.proxy().await?;
    let helm = HeldHelm::create(&sandbox).await?;
    let launch = sandbox.operator().through(&proxy).flag(helm.flag());
    let mut first = launch.flag("--identity=first").start().await?;
    leads(&sandbox, "first").await?;
    let mut second = start(&sandbox, "second").await?;
    sandbox.publish("hello", "alice").await?;
    helm.hold_next()?;
    apply(&sandbox, "one").await?;
    helm.is_held().await?;
    let helms = first.helms()?;
    ensure!(helms.len() == 1, "these run: {helms:?}");

    proxy.set(Faults {
        black_hole: true,
        ..Faults::default()
    });
    let ended = async {
        let status = first.ended().await?;
        ensure!(!status.success(), "it ended as if nothing had been");
        anyhow::Ok(Instant::now())
    };
    let taken = async {
        leads(&sandbox, "second").await?;
        anyhow::Ok(Instant::now())
    };
    let (ended, taken) = tokio::try_join!(ended, taken)?;
    let gap = taken.checked_duration_since(ended);
    let gap = gap.context("the partitioned leader lived on while another led")?;
    eprintln!("the partitioned leader ended {gap:?} before another was seen to lead");
    for helm in helms {
        let alive = std::path::Path::new(&format!("/proc/{helm}")).exists();
        ensure!(!alive, "its Helm lives on");
    }
    let words = first.log()?;
    ensure!(
        words.contains("lost the lease `wavestore-operator`: it was not renewed"),
        "it says nothing of its lease"
    );

    // What was begun is done by the other one; nobody has lost anything.
    proxy.set(Faults::default());
    has_history(&sandbox, "one", "1 deployed").await?;
    first.restart().await?;
    apply(&sandbox, "two").await?;
    has_history(&sandbox, "two", "1 deployed").await?;
    leads(&sandbox, "second").await?;
    second.terminate().await?;
    leads(&sandbox, "first").await?;
    first.terminate().await?;
    sandbox.passed();
    Ok(())
}

async fn start(sandbox: &Sandbox, identity: &str) -> Result<Operator> {
    let identity = format!("--identity={identity}");
    sandbox.operator().flag(identity).start().await
}

async fn apply(sandbox: &Sandbox, name: &str) -> Result<()> {
    let spec = instance("hello", "alice", Visibility::Private);
    sandbox.apply(name, spec).await?;
    Ok(())
}

/// Waits until this operator holds the lease.
async fn leads(sandbox: &Sandbox, identity: &str) -> Result<()> {
    let leases = sandbox.api::<Lease>();
    eventually(&format!("{identity} to lead"), async || {
        let lease = leases.get("wavestore-operator").await?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity);
        ensure!(holder.as_deref() == Some(identity), "{holder:?} leads");
        Ok(())
    })
    .await
}
