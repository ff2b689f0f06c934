//! The operator's clock steps by an hour, ahead and behind, while it works.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use e2e::{Operator, Sandbox};

use crate::{dice, disk};

/// Debian's package libfaketime.
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_steps_by_an_hour_disturbs_nothing() -> Result<()> {
    let mut dice = dice("clock")?;
    let library = LIBRARIES
        .into_iter()
        .find(|library| Path::new(library).exists())
        .context("there is no libfaketime: run `make prerequisites`")?;
    let sandbox = Sandbox::create("clock").await?;
    let offset = sandbox.folder().join("offset");
    fs::write(&offset, "+0")?;
    // Without TLS: the API server's certificate may be younger than an hour.
    let proxy = sandbox.proxy().await?;
    let mut operator = sandbox
        .operator()
        .through(&proxy)
        .variable("LD_PRELOAD", library)
        .variable("FAKETIME_TIMESTAMP_FILE", offset.display().to_string())
        .variable("FAKETIME_NO_CACHE", "1")
        // As a step of the real clock, which leaves the monotonic one alone.
        .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .start()
        .await?;
    let names = disk::running(&sandbox, "sales", 3).await?;
    let volumes = sandbox.filled_volumes_of(&names).await?;
    for step in ["+3600", "-3600", "+0"] {
        fs::write(&offset, step)?;
        for name in &names {
            disk::change(&sandbox, name, &mut dice).await?;
        }
        sandbox.comes_to_rest(&names).await?;
        // What a killed run leaves is told from a live one by the clock: it must be cleaned up all the same.
        killed_in_the_middle(&sandbox, &mut operator, &names, &mut dice).await?;
        sandbox.kept_volumes(&volumes).await?;
    }
    let log = operator.log()?;
    let hour = |line: &str| line.get(..13).map(str::to_owned);
    let hours: std::collections::BTreeSet<_> = log.lines().filter_map(hour).collect();
    ensure!(hours.len() > 2, "the clock did not step: {hours:?}");
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

async fn killed_in_the_middle(
    sandbox: &Sandbox,
    operator: &mut Operator,
    names: &[String],
    dice: &mut fastrand::Rng,
) -> Result<()> {
    for name in names {
        disk::change(sandbox, name, dice).await?;
    }
    e2e::eventually("helm to run", async || {
        ensure!(!operator.helms()?.is_empty(), "it does not");
        Ok(())
    })
    .await?;
    operator.kill_all().await?;
    operator.restart().await?;
    sandbox.comes_to_rest(names).await
}
