//! The bundle becomes the app's folder.

use std::fs::File;
use std::path::Path;

use bundle::Limits;
use tracing::info;

use crate::digest::Digest;
use crate::error::Error;
use crate::fetch::Download;
use crate::phase::Board;
use crate::settings::{Settings, Site};

/// Says which bundle the folder holds, once it holds all of it.
const MARKER: &str = ".wavestore-bundle";

/// Fetches and unpacks the bundle, unless a container before this one in the same pod did, and links the files from
/// outside of it.
///
/// Files that the app itself wrote stay either way.
pub(crate) async fn source(settings: &Settings, board: &Board) -> Result<(), Error> {
    bring(&settings.site, board).await?;
    // A few links take no time.
    settings.files.link(&settings.site.folders.app)
}

/// The same without those files.
pub(crate) async fn bring(site: &Site, board: &Board) -> Result<(), Error> {
    let folder = &site.folders.app;
    let digest = site.digest;
    let marker = folder.join(MARKER);
    let present = tokio::fs::read_to_string(&marker).await;
    if present.is_ok_and(|text| text.trim() == digest.to_string()) {
        info!("Bundle {digest} is there already");
        return Ok(());
    }
    let limits = Limits::default();
    let archive = site.folders.scratch.join("wavestore-bundle.zip");
    let download = Download {
        store: site.store(),
        digest: &digest,
        limit: limits.archive_bytes,
        into: &archive,
    };
    download.run(|reason| board.tell(reason)).await?;

    let unpacked = tokio::task::spawn_blocking({
        let (archive, folder) = (archive.clone(), folder.clone());
        move || unpack(&archive, &folder, &limits, &digest)
    });
    unpacked.await.expect("unpacking does not panic")?;
    // Space in a scratch folder is all that is lost.
    let _ = tokio::fs::remove_file(&archive).await;
    tokio::fs::write(&marker, format!("{digest}\n"))
        .await
        .map_err(|source| Error::File {
            verb: "write",
            path: marker,
            source,
        })
}

fn unpack(archive: &Path, folder: &Path, limits: &Limits, digest: &Digest) -> Result<(), Error> {
    let file = File::open(archive).map_err(|source| Error::File {
        verb: "open",
        path: archive.to_owned(),
        source,
    })?;
    bundle::unpack(file, folder, limits).map_err(|source| Error::unpack(digest, source))
}
