//! Names of entries.

use crate::NameFault;

/// Longest name, and longest part of it, in bytes: what Linux accepts, with room for the folder in front.
const NAME: usize = 1024;
const PART: usize = 255;

/// Checks a name as the archive has it. Returns it without the slash at the end of folders, and
/// whether it is one.
pub(super) fn check(name: &str) -> Result<(&str, bool), NameFault> {
    let (path, is_folder) = match name.strip_suffix('/') {
        Some(path) => (path, true),
        None => (name, false),
    };
    if name.is_empty() {
        return Err(NameFault::Empty);
    }
    if path.len() > NAME {
        return Err(NameFault::TooLong { limit: NAME });
    }
    if name.starts_with('/') || has_drive(path) {
        return Err(NameFault::Absolute);
    }
    if path.contains('\\') {
        return Err(NameFault::Backslash);
    }
    if path.contains(char::is_control) {
        return Err(NameFault::ControlCharacter);
    }
    for part in path.split('/') {
        if matches!(part, "" | "." | "..") {
            return Err(NameFault::Unclean);
        }
        if part.len() > PART {
            return Err(NameFault::TooLong { limit: PART });
        }
    }
    Ok((path, is_folder))
}

/// Whether `path` begins like `C:`, which Windows takes for a drive.
fn has_drive(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_relative_clean_paths() {
        let long_part = "a".repeat(256);
        let long_name = "a/".repeat(600) + "a";
        let cases = [
            ("app.toml", Ok(("app.toml", false))),
            ("static/", Ok(("static", true))),
            ("a/b/c.py", Ok(("a/b/c.py", false))),
            ("Größe 1.txt", Ok(("Größe 1.txt", false))),
            ("..a/b..", Ok(("..a/b..", false))),
            ("ab:c", Ok(("ab:c", false))),
            ("", Err(NameFault::Empty)),
            ("/", Err(NameFault::Absolute)),
            ("/etc/passwd", Err(NameFault::Absolute)),
            ("C:/windows", Err(NameFault::Absolute)),
            ("c:evil", Err(NameFault::Absolute)),
            ("../up", Err(NameFault::Unclean)),
            ("a/../../up", Err(NameFault::Unclean)),
            ("a/..", Err(NameFault::Unclean)),
            ("./a", Err(NameFault::Unclean)),
            ("a//b", Err(NameFault::Unclean)),
            ("a//", Err(NameFault::Unclean)),
            ("..\\up", Err(NameFault::Backslash)),
            ("a\0b", Err(NameFault::ControlCharacter)),
            ("a\nb", Err(NameFault::ControlCharacter)),
            ("a\u{85}b", Err(NameFault::ControlCharacter)),
            (&long_part, Err(NameFault::TooLong { limit: PART })),
            (&long_name, Err(NameFault::TooLong { limit: NAME })),
        ];
        for (name, expected) in cases {
            assert_eq!(check(name), expected, "{name:?}");
        }
    }
}
