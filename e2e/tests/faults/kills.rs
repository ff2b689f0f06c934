//! kill -9 of the operator and of its Helm, at every step of every verb.

use std::time::Duration;

use anyhow::{Context, Result};
use crds::WaveInstance;
use e2e::{Agent, Asked, Held, Operator, PATIENCE, Proxy, Sandbox, Verb, kill_process};
use kube::api::DeleteParams;
use tokio::time::interval;

use crate::{dice, disk, last, setting};

/// An instance that nobody touches.
const NEIGHBOUR: &str = "neighbour";

/// What is under way.
#[derive(Debug, Clone, Copy)]
enum Work {
    Install,
    Upgrade,
    Uninstall,
}

/// Who is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    /// Its Helm goes on.
    Operator,
    Helm,
    /// As at the end of a container.
    Both,
}

/// When.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// The operator has a last look at the release, or has something to write first.
    Before,
    /// So long after Helm has started.
    During(Duration),
    /// Helm has ended, and the operator wants to tell.
    After,
}

/// One operator with a proxy before it.
struct Lane {
    sandbox: Sandbox,
    proxy: Proxy,
    operator: Operator,
    dice: fastrand::Rng,
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_nothing_is_lost_or_left() -> Result<()> {
    let runs = setting("FAULT_RUNS", 12)?;
    let lanes = setting("FAULT_LANES", 4)?.min(runs);
    let mut dice = dice("kills")?;
    let lives = (0..lanes).map(|number| {
        let dice = dice.fork();
        async move {
            let mut lane = Lane::open(number, dice).await?;
            for run in 0..runs.div_ceil(lanes) {
                lane.run(run).await?;
            }
            lane.sandbox.passed();
            anyhow::Ok(())
        }
    });
    futures::future::try_join_all(lives).await?;
    Ok(())
}

impl Lane {
    async fn open(number: u64, dice: fastrand::Rng) -> Result<Self> {
        let sandbox = Sandbox::create(&format!("kills-{number}")).await?;
        let proxy = sandbox.proxy().await?;
        let operator = sandbox.operator().through(&proxy).start().await?;
        disk::publish(&sandbox).await?;
        sandbox.apply(NEIGHBOUR, disk::instance()).await?;
        sandbox.comes_to_rest(&[NEIGHBOUR.to_owned()]).await?;
        Ok(Self {
            sandbox,
            proxy,
            operator,
            dice,
        })
    }

    /// One kill, and what comes after it. Three runs are the life of one instance.
    async fn run(&mut self, run: u64) -> Result<()> {
        let work = [Work::Install, Work::Upgrade, Work::Uninstall][usize::try_from(run % 3)?];
        let moment = match self.dice.u8(0..10) {
            0..2 => Moment::Before,
            2..8 => Moment::During(Duration::from_millis(self.dice.u64(0..400))),
            _ => Moment::After,
        };
        let victim = match moment {
            Moment::Before | Moment::After => Victim::Operator,
            Moment::During(_) => {
                [Victim::Operator, Victim::Helm, Victim::Both][self.dice.usize(0..3)]
            }
        };
        let name = format!("sales-{}", run / 3);
        let mut keep = vec![NEIGHBOUR.to_owned()];
        if matches!(work, Work::Upgrade) {
            keep.push(name.clone());
        }
        let volumes = self.sandbox.filled_volumes_of(&keep).await?;
        let begun = tokio::time::Instant::now();
        let what = format!("run {run}: {work:?} of {name}, {victim:?} killed {moment:?}");
        let rested = async {
            self.kill(work, moment, victim, &name).await?;
            let mut names = vec![NEIGHBOUR.to_owned()];
            match work {
                Work::Install | Work::Upgrade => names.push(name),
                Work::Uninstall => {}
            }
            self.sandbox.comes_to_rest(&names).await?;
            self.sandbox.kept_volumes(&volumes).await
        };
        rested.await.with_context(|| what.clone())?;
        eprintln!(
            "{} {what}: at rest after {:.1} s",
            self.sandbox.name,
            begun.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// Begins the work, kills at the right moment, and starts the operator again.
    async fn kill(&mut self, work: Work, moment: Moment, victim: Victim, name: &str) -> Result<()> {
        // In every case, or Helm could have ended before we look.
        let held = self.proxy.hold(before_helm);
        match work {
            Work::Install => {
                self.sandbox.apply(name, disk::instance()).await?;
            }
            Work::Upgrade => disk::change(&self.sandbox, name, &mut self.dice).await?,
            Work::Uninstall => {
                let api = self.sandbox.api::<WaveInstance>();
                api.delete(name, &DeleteParams::default()).await?;
            }
        }
        held.arrived().await?;
        let held = match moment {
            Moment::Before => Some(held),
            Moment::During(delay) => {
                self.helm_starts(held).await?;
                last(delay).await;
                None
            }
            Moment::After => {
                self.helm_starts(held).await?;
                let held = self.proxy.hold(written_by_the_operator);
                held.arrived().await?;
                Some(held)
            }
        };
        match victim {
            Victim::Operator => self.operator.kill().await?,
            Victim::Both => self.operator.kill_all().await?,
            Victim::Helm => {
                for helm in self.operator.helms()? {
                    kill_process(helm);
                }
                return Ok(());
            }
        }
        // What it wanted to write has died with it.
        drop(held);
        self.operator.restart().await
    }

    /// Lets the operator go on, and waits until it runs Helm.
    async fn helm_starts(&self, held: Held) -> Result<()> {
        // Or an uninstallation could be over before we have seen it, on a machine that has much else to do.
        let _at_work = self.proxy.hold(asked_by_helm);
        drop(held);
        let mut pace = interval(Duration::from_millis(1));
        tokio::time::timeout(PATIENCE, async {
            while self.operator.helms()?.is_empty() {
                pace.tick().await;
            }
            anyhow::Ok(())
        })
        .await
        .context("the operator does not run helm")?
    }
}

/// What the operator itself asks before it starts Helm.
fn before_helm(asked: &Asked) -> bool {
    let looks = asked.verb == Verb::List && asked.path.ends_with("/secrets");
    written_by_the_operator(asked) || (looks && asked.agent == Agent::Operator)
}

fn asked_by_helm(asked: &Asked) -> bool {
    asked.agent == Agent::Helm
}

/// What the operator itself writes, other than its lease.
fn written_by_the_operator(asked: &Asked) -> bool {
    asked.agent == Agent::Operator && asked.verb.writes() && !asked.path.contains("/leases")
}
