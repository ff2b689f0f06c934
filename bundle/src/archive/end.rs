//! The end of a zip archive (APPNOTE 4.3.14 to 4.3.16), where its directory is announced.
//!
//! Programs search for it in different ways, so a crafted file can show each of them another
//! directory. Here it must be the very last thing in the file, the directory must lie right before
//! it, and the two ways to write its numbers must agree.

use std::io::{Read, Seek, SeekFrom};

use super::not_an_archive;
use crate::Error;

const END: &[u8] = b"PK\x05\x06";
const END_SIZE: usize = 22;
const LOCATOR: &[u8] = b"PK\x06\x07";
const LOCATOR_SIZE: usize = 20;
const END64: &[u8] = b"PK\x06\x06";
const END64_SIZE: usize = 56;
const LONGEST_COMMENT: usize = 0xffff;

/// How many entries the archive of `size` bytes announces.
pub(super) fn count_entries(file: &mut (impl Read + Seek), size: u64) -> Result<u64, Error> {
    let longest = (END_SIZE + LONGEST_COMMENT + LOCATOR_SIZE) as u64;
    let tail_start = size.saturating_sub(longest);
    let tail = read_at(file, tail_start, size - tail_start)?;
    let at = last_match(&tail, END)
        .filter(|at| at + END_SIZE <= tail.len())
        .ok_or_else(|| not_an_archive("it has no end record"))?;
    let end = &tail[at..];
    let comment = usize::from(u16_at(end, 20));
    if at + END_SIZE + comment != tail.len() {
        return Err(not_an_archive("there is something else after its end"));
    }
    let short = Directory {
        disks: [u16_at(end, 4).into(), u16_at(end, 6).into()],
        entries: [u16_at(end, 8).into(), u16_at(end, 10).into()],
        size: u32_at(end, 12).into(),
        start: u32_at(end, 16).into(),
    };
    let end_position = tail_start + at as u64;
    let locator = at
        .checked_sub(LOCATOR_SIZE)
        .map(|start| &tail[start..at])
        .filter(|locator| locator.starts_with(LOCATOR));
    let (directory, directory_end) = match locator {
        None => (short, end_position),
        Some(locator) => {
            let position = u64_at(locator, 8);
            let end64 = read_at(file, position.min(size), END64_SIZE as u64)?;
            let locator_position = end_position - LOCATOR_SIZE as u64;
            if end64.len() < END64_SIZE
                || !end64.starts_with(END64)
                || position
                    .checked_add(12)
                    .and_then(|p| p.checked_add(u64_at(&end64, 4)))
                    != Some(locator_position)
                || u32_at(locator, 4) != 0
                || u32_at(locator, 16) > 1
            {
                return Err(not_an_archive("its zip64 end record is not where it says"));
            }
            let long = Directory {
                disks: [u32_at(&end64, 16), u32_at(&end64, 20)],
                entries: [u64_at(&end64, 24), u64_at(&end64, 32)],
                size: u64_at(&end64, 40),
                start: u64_at(&end64, 48),
            };
            if !short.agrees_with(&long) {
                return Err(not_an_archive("its two end records differ"));
            }
            (long, position)
        }
    };
    if directory.disks != [0, 0] || directory.entries[0] != directory.entries[1] {
        return Err(not_an_archive("it is one of several parts"));
    }
    if directory.start.checked_add(directory.size) != Some(directory_end) {
        return Err(not_an_archive(
            "its directory does not lie right before its end",
        ));
    }
    Ok(directory.entries[1])
}

/// What an end record says of the directory.
struct Directory {
    disks: [u32; 2],
    entries: [u64; 2],
    size: u64,
    start: u64,
}

impl Directory {
    /// Whether each number is the other's, or all ones, which stands for "see the other".
    fn agrees_with(&self, long: &Self) -> bool {
        let same = |short: u64, long: u64, ones: u64| short == long || short == ones;
        let pairs16 = [
            (self.disks[0].into(), long.disks[0].into()),
            (self.disks[1].into(), long.disks[1].into()),
            (self.entries[0], long.entries[0]),
            (self.entries[1], long.entries[1]),
        ];
        pairs16
            .iter()
            .all(|(short, long)| same(*short, *long, 0xffff))
            && same(self.size, long.size, 0xffff_ffff)
            && same(self.start, long.start, 0xffff_ffff)
    }
}

/// Up to `length` bytes from `start` on, fewer at the end of the file.
fn read_at(file: &mut (impl Read + Seek), start: u64, length: u64) -> Result<Vec<u8>, Error> {
    file.seek(SeekFrom::Start(start)).map_err(Error::Read)?;
    let mut bytes = Vec::new();
    file.by_ref()
        .take(length)
        .read_to_end(&mut bytes)
        .map_err(Error::Read)?;
    Ok(bytes)
}

fn last_match(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes
        .windows(pattern.len())
        .rposition(|window| window == pattern)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
