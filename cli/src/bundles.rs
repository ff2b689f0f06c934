//! Bundles: checked, packed, published.

use std::fs::File;
use std::io::{IsTerminal as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bundle::{Bundle, EnvRules, Limits};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Body, Method, header};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::io::ReaderStream;

use crate::args::{Output, Visibility};
use crate::client::{Client, answer};
use crate::error::Error;
use crate::pack::pack;
use crate::print::{note, print};

/// How long an import may take before we stop to wait for it.
const IMPORT_PATIENCE: Duration = Duration::from_mins(10);

/// How often we ask how far the import is.
const IMPORT_INTERVAL: Duration = Duration::from_millis(500);

/// A bundle in a file, and what is in it.
pub(crate) struct Packed {
    file: File,
    size: u64,
    bundle: Bundle,
}

impl Packed {
    pub(crate) fn app(&self) -> &bundle::App {
        &self.bundle.manifest.app
    }

    /// Says what the store will ignore.
    pub(crate) fn tell_warnings(&self) {
        for warning in &self.bundle.warnings {
            note(format_args!("warning: {warning}"));
        }
    }
}

/// What is said of a bundle.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    name: &'a str,
    version: String,
    title: &'a str,
    size_bytes: u64,
    files: usize,
    warnings: &'a [String],
}

/// What the API says of a published app.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Published {
    /// Name of the `WaveApp`.
    pub(crate) name: String,
    /// `Importing`, `Ready` or `Failed`.
    pub(crate) state: State,
    /// Why it is so.
    #[serde(default)]
    pub(crate) message: String,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    Importing,
    Ready,
    Failed,
}

/// Says whether the store would take an app.
pub(crate) fn validate(app: &Path, output: Output) -> Result<(), Error> {
    let packed = open(app, str::to_owned)?;
    summarize(&packed, output);
    Ok(())
}

/// Writes the bundle of a folder.
pub(crate) fn write(folder: &Path, into: Option<PathBuf>, output: Output) -> Result<(), Error> {
    let mut packed = open(folder, str::to_owned)?;
    let app = packed.app();
    let into = into.unwrap_or_else(|| format!("{}.{}.wave", app.name, app.version).into());
    let failed = |source| Error::File {
        task: "write",
        file: into.clone(),
        source,
    };
    let mut file = File::create(&into).map_err(failed)?;
    std::io::copy(&mut packed.file, &mut file).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    summarize(&packed, output);
    note(format_args!("Wrote {}", into.display()));
    Ok(())
}

/// Publishes an app, and waits until it is in the store.
pub(crate) async fn deploy(
    client: &Client,
    app: &Path,
    visibility: Visibility,
    output: Output,
) -> Result<(), Error> {
    let packed = open(app, str::to_owned)?;
    packed.tell_warnings();
    let (app, version) = (packed.app().name.clone(), packed.app().version.clone());
    let published = upload(client, packed, visibility).await?;
    let published = imported(client, published).await?;
    print(output, &published, || {
        format!("Published {app} {version} as {}", published.name)
    });
    Ok(())
}

/// Waits until an app is in the store.
pub(crate) async fn imported(
    client: &Client,
    mut published: Published,
) -> Result<Published, Error> {
    let waiting = ProgressBar::new_spinner().with_message("Importing");
    waiting.enable_steady_tick(Duration::from_millis(100));
    let start = Instant::now();
    while published.state == State::Importing {
        if start.elapsed() > IMPORT_PATIENCE {
            return Err(Error::Slow {
                name: published.name,
            });
        }
        tokio::time::sleep(IMPORT_INTERVAL).await;
        published = client.get(&format!("apps/{}", published.name)).await?;
    }
    waiting.finish_and_clear();
    if published.state == State::Failed {
        return Err(Error::Import {
            message: published.message,
        });
    }
    Ok(published)
}

pub(crate) async fn upload(
    client: &Client,
    packed: Packed,
    visibility: Visibility,
) -> Result<Published, Error> {
    let progress = bar("Uploading", packed.size);
    let told = progress.clone();
    let file = tokio::fs::File::from_std(packed.file);
    let content = ReaderStream::new(told.wrap_async_read(file));
    let visibility: &str = visibility.into();
    let response = client
        .request(Method::PUT, "apps")
        .query(&[("visibility", visibility)])
        .header(header::CONTENT_TYPE, "application/zip")
        .header(header::CONTENT_LENGTH, packed.size)
        .body(Body::wrap_stream(content))
        .send()
        .await?;
    progress.finish_and_clear();
    answer(response).await
}

/// Packs a folder, with another app.toml if `manifest` makes one of it, or takes a bundle; and reads it as the store will.
pub(crate) fn open(app: &Path, manifest: impl Fn(&str) -> String) -> Result<Packed, Error> {
    let unreadable = |source| Error::File {
        task: "read",
        file: app.to_owned(),
        source,
    };
    let mut file = if std::fs::metadata(app).map_err(unreadable)?.is_dir() {
        let mut file = tempfile::tempfile().map_err(|source| Error::File {
            task: "write",
            file: std::env::temp_dir(),
            source,
        })?;
        let progress = bar("Packing", 0);
        pack(app, manifest, &mut file, |bytes| progress.inc(bytes))?;
        progress.finish_and_clear();
        file
    } else {
        File::open(app).map_err(unreadable)?
    };
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let reader = std::io::BufReader::new(file.try_clone().map_err(unreadable)?);
    // What this store allows beyond it, it says itself.
    let bundle = bundle::read(reader, &Limits::default(), &EnvRules::default())?;
    let size = file.metadata().map_err(unreadable)?.len();
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    Ok(Packed { file, size, bundle })
}

fn summarize(packed: &Packed, output: Output) {
    let app = &packed.bundle.manifest.app;
    let summary = Summary {
        name: &app.name,
        version: app.version.to_string(),
        title: &app.title,
        size_bytes: packed.size,
        files: packed.bundle.files.len(),
        warnings: &packed.bundle.warnings,
    };
    print(output, &summary, || {
        let mut words = format!(
            "{} {} ({}): {} files, {} bytes",
            summary.name, summary.version, summary.title, summary.files, summary.size_bytes
        );
        for warning in summary.warnings {
            words.push_str("\nwarning: ");
            words.push_str(warning);
        }
        words
    });
}

/// Shows how far something is, to whoever watches.
pub(crate) fn bar(what: &'static str, size: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = if size == 0 {
        "{msg} {bytes}"
    } else {
        "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}"
    };
    let style = ProgressStyle::with_template(style).expect("the template is well formed");
    ProgressBar::new(size).with_style(style).with_message(what)
}
