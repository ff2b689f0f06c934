//! `[Runtime]`

use super::inject::{clean_path, forbidden_place};
use super::{APP_ROOT, AppMode, Findings, Runtime, Section, Volume};
use crate::Quantity;
use crate::problem::Fault;

const ROUTING_MODES: &[&str] = &["DOMAIN", "BASE_URL"];
const APP_MODES: &[&str] = &["wave", "python", "container"];

/// Longest text of any key here.
const TEXT: usize = 1024;

/// Ports of the pod on which the launcher listens.
const TAKEN_PORTS: [i64; 2] = [10101, 10102];

/// One mebibyte. `MemoryLimit = "400m"` is a slip for `400Mi` and asks for less than a byte.
const LEAST_BYTES: u128 = 1 << 20;

/// What an amount counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Bytes,
    Cores,
}

pub(super) fn read(
    mut section: Section,
    is_link: bool,
    findings: &mut Findings,
) -> Option<Runtime> {
    let mode = section.word("AppMode", APP_MODES, findings);
    let module = module(&mut section, is_link, findings);
    let runtime_version = section.prose("RuntimeVersion", TEXT, findings);
    let volume = volume(&mut section, findings);
    let resource_volume_size = quantity(&mut section, "ResourceVolumeSize", Unit::Bytes, findings);
    let memory_limit = quantity(&mut section, "MemoryLimit", Unit::Bytes, findings);
    let memory_reservation = quantity(&mut section, "MemoryReservation", Unit::Bytes, findings);
    let cpu_limit = quantity(&mut section, "CPULimit", Unit::Cores, findings);
    let cpu_reservation = quantity(&mut section, "CPUReservation", Unit::Cores, findings);
    within(
        "MemoryReservation",
        memory_reservation.as_ref(),
        "MemoryLimit",
        memory_limit.as_ref(),
        findings,
    );
    within(
        "CPUReservation",
        cpu_reservation.as_ref(),
        "CPULimit",
        cpu_limit.as_ref(),
        findings,
    );
    let gpu_count = gpu_count(&mut section, findings);
    let gpu_type = section.prose("GPUType", TEXT, findings);
    let enable_oidc = section.flag("EnableOIDC", findings);
    let enable_shm = section.flag("EnableSHM", findings);
    let routing_mode = section.word("RoutingMode", ROUTING_MODES, findings);
    let port = port(&mut section, mode, findings);
    let custom_image = section.prose("CustomImage", TEXT, findings);
    if mode == AppMode::Container && custom_image.is_none() {
        let needed_by = "`AppMode = \"container\"`";
        findings.problem_once("[Runtime] CustomImage", Fault::MissingFor { needed_by });
    }
    let args = section.words("AppArgs", findings);
    let entry_point = section.words("AppEntryPoint", findings);
    section.finish(findings);
    let of_container = "only `AppMode = \"container\"` uses it";
    for (key, is_there, is_used, why) in [
        (
            "AppArgs",
            !args.is_empty(),
            mode != AppMode::Wave,
            "a Wave app is started by uvicorn",
        ),
        (
            "CustomImage",
            custom_image.is_some(),
            mode == AppMode::Container,
            of_container,
        ),
        (
            "AppEntryPoint",
            !entry_point.is_empty(),
            mode == AppMode::Container,
            of_container,
        ),
    ] {
        if is_there && !is_used {
            findings.warn(format!("key `Runtime.{key}` is ignored: {why}"));
        }
    }
    Some(Runtime {
        module: module?,
        runtime_version,
        volume,
        resource_volume_size,
        memory_limit,
        memory_reservation,
        cpu_limit,
        cpu_reservation,
        gpu_count,
        gpu_type,
        enable_oidc,
        enable_shm,
        routing_mode,
        mode,
        port,
        custom_image,
        args,
        entry_point,
    })
}

/// Whether `text` can follow `python -m`.
pub(crate) fn is_module(text: &str) -> bool {
    text.len() <= TEXT
        && text.rsplit('.').next() != Some("py")
        && text.split('.').all(|part| {
            !part.is_empty()
                && !part.starts_with('-')
                && part
                    .chars()
                    .all(|c| c.is_alphanumeric() || c == '_' || c == '-')
        })
}

fn module(section: &mut Section, is_link: bool, findings: &mut Findings) -> Option<String> {
    let value = if is_link {
        section.text("Module", findings)?
    } else {
        section.required("Module", findings)?
    };
    if is_module(&value) {
        return Some(value);
    }
    findings.problem(section.name("Module"), Fault::NotModule { value });
    None
}

fn quantity(
    section: &mut Section,
    key: &'static str,
    unit: Unit,
    findings: &mut Findings,
) -> Option<Quantity> {
    let value = section.amount(key, findings)?;
    let fault = match value.parse::<Quantity>() {
        Err(_) => Fault::NotQuantity { value },
        Ok(amount) if amount.is_zero() => Fault::Zero { value },
        Ok(amount) if unit == Unit::Bytes && amount.units() < LEAST_BYTES => {
            Fault::TooFewBytes { value }
        }
        Ok(amount) => return Some(amount),
    };
    findings.problem(section.name(key), fault);
    None
}

/// Kubernetes refuses a pod whose request is above its limit.
fn within(
    key: &str,
    reservation: Option<&Quantity>,
    limit_key: &'static str,
    limit: Option<&Quantity>,
    findings: &mut Findings,
) {
    if let (Some(reservation), Some(limit)) = (reservation, limit)
        && reservation.compare(limit).is_gt()
    {
        findings.problem(
            format!("[Runtime] {key}"),
            Fault::AboveLimit {
                value: reservation.to_string(),
                limit_key,
                limit: limit.to_string(),
            },
        );
    }
}

fn volume(section: &mut Section, findings: &mut Findings) -> Option<Volume> {
    let mount = section.text("VolumeMount", findings);
    let size = quantity(section, "VolumeSize", Unit::Bytes, findings);
    let Some(value) = mount else {
        if size.is_some() {
            findings.warn("key `Runtime.VolumeSize` is ignored, since there is no `VolumeMount`");
        }
        return None;
    };
    let mount = match mount_path(value) {
        Ok(mount) => mount,
        Err(fault) => {
            findings.problem(section.name("VolumeMount"), fault);
            return None;
        }
    };
    if size.is_none() {
        let needed_by = "`VolumeMount`";
        findings.problem_once("[Runtime] VolumeSize", Fault::MissingFor { needed_by });
    }
    Some(Volume { mount, size: size? })
}

/// The path of a volume. One below the app's folder is fine: it keeps what the app writes there.
fn mount_path(value: String) -> Result<String, Fault> {
    if !value.starts_with('/') {
        return Err(Fault::NotAbsolute { value });
    }
    let Some(path) = clean_path(&value) else {
        return Err(Fault::UncleanPath { value });
    };
    match forbidden_place(&path) {
        Some(place) => Err(Fault::ForbiddenPath { value, place }),
        None => Ok(path),
    }
}

fn gpu_count(section: &mut Section, findings: &mut Findings) -> u32 {
    const MOST: i64 = 64;
    let Some(value) = section.number("GPUCount", findings) else {
        return 0;
    };
    match u32::try_from(value) {
        Ok(count) if value <= MOST => count,
        _ => {
            let (least, most) = (0, MOST);
            findings.problem(
                section.name("GPUCount"),
                Fault::OutOfRange { value, least, most },
            );
            0
        }
    }
}

fn port(section: &mut Section, mode: AppMode, findings: &mut Findings) -> Option<u16> {
    let number = section
        .number("Port", findings)
        .filter(|number| *number != 0);
    let needed_by = match mode {
        AppMode::Wave => {
            if number.is_some() {
                findings.warn("key `Runtime.Port` is ignored: a Wave app is reached through waved");
            }
            return None;
        }
        AppMode::Python => "`AppMode = \"python\"`",
        AppMode::Container => "`AppMode = \"container\"`",
    };
    let Some(value) = number else {
        findings.problem_once("[Runtime] Port", Fault::MissingFor { needed_by });
        return None;
    };
    // Lower ports need a right that pods of apps do not get.
    let (least, most) = (1024, i64::from(u16::MAX));
    let fault = match u16::try_from(value) {
        Ok(_) if TAKEN_PORTS.contains(&value) => Fault::PortTaken { value },
        Ok(port) if value >= least => return Some(port),
        _ => Fault::OutOfRange { value, least, most },
    };
    findings.problem(section.name("Port"), fault);
    None
}

/// Whether a volume at `mount` would hide the file or folder `name` of the bundle.
pub(crate) fn hides(mount: &str, name: &str) -> bool {
    let Some(folder) = mount
        .strip_prefix(APP_ROOT)
        .and_then(|rest| rest.strip_prefix('/'))
    else {
        return false;
    };
    name.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
