//! The status of aliases. Routers act by the same rules (`crds::settle`) on their own, so nothing waits for what is told here;
//! it is told by the one operator that leads, as the status of every other kind.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crds::{
    AppRef, Claim, ConditionStatus, ConditionType, Domains, Fault, RoutingMode, Standing,
    WaveAlias, WaveAliasStatus, condition, set_condition,
};
use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, Store};
use kube::{Resource, ResourceExt};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::error::Error;
use crate::events::FIELD_MANAGER;
use crate::freshness::{Freshness, Watch};
use crate::instance::Context;
use crate::lease::Leadership;
use crate::readable;

/// How often all aliases are looked at: in memory, and only what has changed is written.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps the status of all aliases from when we lead until told to stop.
pub(crate) async fn run(
    ctx: Arc<Context>,
    freshness: Arc<Freshness>,
    leadership: &Leadership,
    stop: CancellationToken,
) {
    let (aliases, writer) = reflector::store::<WaveAlias>();
    let watched = freshness.client(Watch::Aliases, &ctx.client);
    let events = readable::watch(watched, &ctx.settings.namespace, leadership);
    let watch = freshness
        .follow(Watch::Aliases, events)
        .modify(|alias: &mut WaveAlias| alias.managed_fields_mut().clear())
        .reflect(writer)
        .for_each(|_| std::future::ready(()));
    let tell = async {
        leadership.begun().await;
        ctx.world.synced().await;
        if aliases.wait_until_ready().await.is_err() {
            return;
        }
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            tell_all(&ctx, &aliases).await;
        }
    };
    let both = Box::pin(async { tokio::join!(watch, tell) });
    stop.run_until_cancelled(both).await;
}

async fn tell_all(ctx: &Context, aliases: &Store<WaveAlias>) {
    let aliases = aliases.state();
    if aliases.is_empty() {
        return;
    }
    let instances = ctx.world.instances.state();
    let names: HashSet<String> = instances.iter().map(|it| it.name_any()).collect();
    let claims = aliases.iter().filter_map(|alias| {
        Some(Claim {
            name: alias.metadata.name.as_deref()?,
            created: alias
                .metadata
                .creation_timestamp
                .as_ref()
                .map(|time| time.0),
            spec: &alias.spec,
        })
    });
    let store = ctx.settings.store_url.host_str().unwrap_or_default();
    let apps = ctx.settings.apps_domain.as_str();
    let domains = Domains {
        store,
        apps: apps.split_once(':').map_or(apps, |(host, _)| host),
    };
    let now = Time(Timestamp::now());
    for standing in crds::settle(claims.collect(), domains, |name| names.contains(name)) {
        let found = aliases
            .iter()
            .find(|alias| alias.name_any() == standing.name);
        let Some(alias) = found else { continue };
        let mode = instances
            .iter()
            .find(|instance| instance.name_any() == standing.instance)
            .and_then(|instance| routing_mode(ctx, &instance.spec.app));
        let url = url(ctx, &standing, mode);
        let old = alias.status.clone().unwrap_or_default();
        let status = status(&old, alias.metadata.generation, &standing, url, &now);
        if status == old {
            continue;
        }
        if let Err(error) = write(ctx, alias, &status).await {
            warn!(
                error = &error as &dyn std::error::Error,
                alias.name = standing.name,
                "Could not tell of alias {}",
                standing.name
            );
        }
    }
}

fn routing_mode(ctx: &Context, app: &AppRef) -> Option<RoutingMode> {
    let apps = &ctx.world.apps;
    apps.find(|entry| entry.app.as_ref() == Some(app))?
        .routing_mode
}

/// Where people reach the instance by an alias that leads there.
fn url(ctx: &Context, standing: &Standing<'_>, mode: Option<RoutingMode>) -> Option<String> {
    let mode = mode.filter(|_| standing.is_in_force)?;
    let Some(host) = standing.host else {
        return Some(ctx.settings.url(standing.name, mode));
    };
    let scheme = ctx.settings.store_url.scheme();
    let port = ctx.settings.apps_domain.split_once(':');
    let port = port.map(|(_, port)| format!(":{port}")).unwrap_or_default();
    let path = match mode {
        RoutingMode::Domain => "/".to_owned(),
        RoutingMode::BaseUrl => format!("{}{}/", crds::INSTANCE_PATH, standing.name),
    };
    Some(format!("{scheme}://{host}{port}{path}"))
}

/// The status to write, from the one that is there.
fn status(
    old: &WaveAliasStatus,
    generation: Option<i64>,
    standing: &Standing<'_>,
    url: Option<String>,
    now: &Time,
) -> WaveAliasStatus {
    let (second, reason, message) = verdict(standing);
    let ready = match second {
        None => ConditionStatus::True,
        Some(_) => ConditionStatus::False,
    };
    let make = |type_, status| condition(type_, status, reason, &message, generation, now);
    let mut conditions = old.conditions.clone();
    set_condition(&mut conditions, make(ConditionType::Ready, ready));
    for type_ in [ConditionType::Reconciling, ConditionType::Stalled] {
        if second == Some(type_) {
            set_condition(&mut conditions, make(type_, ConditionStatus::True));
        } else {
            conditions.retain(|condition| condition.type_ != type_.to_string());
        }
    }
    WaveAliasStatus {
        conditions,
        observed_generation: generation,
        url,
    }
}

/// The condition beside Ready, and a reason and a message for both.
fn verdict(standing: &Standing<'_>) -> (Option<ConditionType>, &'static str, String) {
    use ConditionType::{Reconciling, Stalled};
    let Standing { name, instance, .. } = standing;
    let Some(fault) = standing.fault else {
        return (
            None,
            "InForce",
            format!("it leads to instance `{instance}`"),
        );
    };
    match fault {
        Fault::NameReserved => (
            Some(Stalled),
            "NameReserved",
            format!("the name `{name}` is the store's own (hint: choose another one)"),
        ),
        Fault::NameTaken => (
            Some(Stalled),
            "NameTaken",
            format!("an instance is called `{name}`, and keeps its name (hint: choose another one)"),
        ),
        Fault::HostReserved => (
            Some(Stalled),
            "HostReserved",
            "the host belongs to the store or to its instances (hint: choose one outside of their domains)".to_owned(),
        ),
        Fault::HostTaken { by } => (
            Some(Stalled),
            "HostTaken",
            format!("the older alias `{by}` has this host"),
        ),
        Fault::SecondPrimary { first } => (
            Some(Stalled),
            "SecondPrimary",
            format!("the older alias `{first}` is the primary one of instance `{instance}`; visits by this one are sent there"),
        ),
        Fault::InstanceMissing => (
            Some(Reconciling),
            "InstanceMissing",
            format!("there is no instance `{instance}`; the name is kept for it"),
        ),
    }
}

async fn write(ctx: &Context, alias: &WaveAlias, status: &WaveAliasStatus) -> Result<(), Error> {
    let name = alias.name_any();
    let api: Api<WaveAlias> = Api::namespaced(ctx.client.clone(), &ctx.settings.namespace);
    let patch = json!({
        "apiVersion": WaveAlias::api_version(&()),
        "kind": WaveAlias::kind(&()),
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match api.patch_status(&name, &params, &Patch::Apply(patch)).await {
        Ok(_) => {
            let message = status
                .conditions
                .first()
                .map(|ready| ready.message.as_str());
            info!(
                alias.name = name,
                "Alias {name}: {}",
                message.unwrap_or_default()
            );
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(Error::Kube {
            task: format!("write the status of WaveAlias `{name}`"),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_as_kstatus_wants_it() {
        let faults = [
            None,
            Some(Fault::NameReserved),
            Some(Fault::NameTaken),
            Some(Fault::HostReserved),
            Some(Fault::HostTaken { by: "first" }),
            Some(Fault::SecondPrimary { first: "first" }),
            Some(Fault::InstanceMissing),
        ];
        let now = Time("2026-01-01T00:00:00Z".parse().expect("a time"));
        let mut old = WaveAliasStatus::default();
        let lines: Vec<String> = faults
            .into_iter()
            .map(|fault| {
                let standing = Standing {
                    name: "crm",
                    instance: "sales",
                    host: None,
                    is_primary: false,
                    is_in_force: true,
                    fault,
                };
                old = status(&old, Some(1), &standing, None, &now);
                let conditions: Vec<String> = old
                    .conditions
                    .iter()
                    .map(|held| format!("{}={}", held.type_, held.status))
                    .collect();
                let ready = &old.conditions[0];
                format!(
                    "{} {}: {}",
                    conditions.join(" "),
                    ready.reason,
                    ready.message
                )
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
