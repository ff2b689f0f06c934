//! Unpacked packages become one folder of regular files: environments have no links, which could lead anywhere. What a link of a package
//! leads to in another is copied to where the link was.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Links that may follow upon each other.
const HOPS: usize = 16;

/// What nobody looks for in a pod.
const LEFT_OUT: [&str; 5] = [
    "usr/share/bug",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/man",
];

/// What a path is.
enum Entry {
    File(PathBuf),
    Link(PathBuf),
}

/// All that is in some packages, by its path below `/`.
#[derive(Default)]
pub(super) struct Union(BTreeMap<PathBuf, Entry>);

impl Union {
    /// Adds what is in an unpacked package.
    pub(super) fn add(&mut self, root: &Path) -> io::Result<()> {
        self.walk(root, Path::new(""))
    }

    fn walk(&mut self, root: &Path, below: &Path) -> io::Result<()> {
        for entry in fs::read_dir(root.join(below))? {
            let entry = entry?;
            let name = below.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                if !LEFT_OUT.iter().any(|left| Path::new(left) == name) {
                    self.walk(root, &name)?;
                }
            } else if kind.is_file() {
                self.0.insert(name, Entry::File(entry.path()));
            } else if kind.is_symlink() {
                let target = fs::read_link(entry.path())?;
                self.0.insert(name, Entry::Link(target));
            }
        }
        Ok(())
    }

    /// Puts all of it into the folder `into`: files are moved, links become copies, and those that lead out of the packages are left out.
    pub(super) fn put(&self, into: &Path) -> io::Result<()> {
        let mut links = Vec::new();
        for (name, entry) in &self.0 {
            match entry {
                Entry::Link(_) => links.push(name),
                Entry::File(file) => {
                    let to = make_way(into, name)?;
                    fs::rename(file, to)?;
                }
            }
        }
        for name in links {
            let Some(target) = self.resolve(name) else {
                continue;
            };
            let below = self.0.range(target.clone()..);
            let found = below.take_while(|(path, _)| path.starts_with(&target));
            for (path, entry) in found {
                let rest = path.strip_prefix(&target).map_err(io::Error::other)?;
                let name = if rest.as_os_str().is_empty() {
                    name.clone()
                } else {
                    name.join(rest)
                };
                // A link inside of a folder that a link leads to: nobody needs so many.
                if matches!(entry, Entry::File(_)) && !self.0.contains_key(&name)
                    || rest.as_os_str().is_empty()
                {
                    let to = make_way(into, &name)?;
                    fs::copy(into.join(path), to)?;
                }
            }
        }
        Ok(())
    }

    /// The file or folder of the packages that a path leads to in the end.
    fn resolve(&self, path: &Path) -> Option<PathBuf> {
        let mut path = path.to_owned();
        for _ in 0..HOPS {
            let Some((link, target)) = self.first_link(&path) else {
                let is_there = self.0.range(path.clone()..).next();
                return is_there?.0.starts_with(&path).then_some(path);
            };
            let rest = path.strip_prefix(&link).ok()?.to_owned();
            let from = link.parent()?.join(target);
            path = plain(&from)?.join(rest);
            if path.as_os_str().is_empty() {
                return None;
            }
            // `join` with nothing leaves a slash at the end.
            path = path.components().collect();
        }
        None
    }

    /// The first of a path's parts that is a link.
    fn first_link(&self, path: &Path) -> Option<(PathBuf, &Path)> {
        let mut so_far = PathBuf::new();
        for part in path.components() {
            so_far.push(part);
            if let Some(Entry::Link(target)) = self.0.get(&so_far) {
                return Some((so_far, target));
            }
        }
        None
    }
}

/// A path below `/` without `.` and `..`; nothing when it leads above that.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::RootDir => plain.clear(),
            Component::CurDir => {}
            Component::ParentDir => {
                if !plain.pop() {
                    return None;
                }
            }
            Component::Prefix(_) => return None,
        }
    }
    Some(plain)
}

fn make_way(into: &Path, name: &Path) -> io::Result<PathBuf> {
    let to = into.join(name);
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(to)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn package(files: &[(&str, &str)], links: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = make_way(root.path(), Path::new(name)).unwrap();
            fs::write(path, content).unwrap();
        }
        for (name, target) in links {
            symlink(target, make_way(root.path(), Path::new(name)).unwrap()).unwrap();
        }
        root
    }

    fn files(folder: &Path, below: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder.join(below)).unwrap() {
            let entry = entry.unwrap();
            let name = below.join(entry.file_name());
            let kind = entry.file_type().unwrap();
            assert!(!kind.is_symlink(), "{}", name.display());
            if kind.is_dir() {
                found.extend(files(folder, &name));
            } else {
                let content = fs::read_to_string(entry.path()).unwrap();
                found.push(format!("{}: {content}", name.display()));
            }
        }
        found.sort();
        found
    }

    #[test]
    fn links_become_what_they_lead_to_and_none_leads_out() {
        let one = package(
            &[
                ("usr/lib/libx.so.1.2", "x"),
                ("usr/share/x/a", "a"),
                ("usr/share/x/deep/b", "b"),
                ("usr/share/man/man1/x.1", "manual"),
            ],
            &[
                ("usr/lib/libx.so.1", "libx.so.1.2"),
                ("usr/lib/libx.so", "/usr/lib/libx.so.1"),
                ("usr/share/y", "x"),
                ("usr/share/z", "y/deep"),
                ("usr/lib/passwd", "/etc/passwd"),
                ("usr/lib/above", "../../../../etc/passwd"),
                ("usr/lib/round", "about"),
                ("usr/lib/about", "round"),
                ("usr/lib/root", "/"),
                ("usr/lib/here", "."),
            ],
        );
        let two = package(
            &[("usr/bin/y", "y")],
            &[("usr/bin/x", "../lib/libx.so.1"), ("usr/bin/z", "nothing")],
        );
        let mut union = Union::default();
        union.add(one.path()).unwrap();
        union.add(two.path()).unwrap();
        let into = tempfile::tempdir().unwrap();
        union.put(into.path()).unwrap();
        let mut expected = vec![
            "usr/bin/x: x",
            "usr/bin/y: y",
            "usr/lib/libx.so.1.2: x",
            "usr/lib/libx.so.1: x",
            "usr/lib/libx.so: x",
            "usr/share/x/a: a",
            "usr/share/x/deep/b: b",
            "usr/share/y/a: a",
            "usr/share/y/deep/b: b",
            "usr/share/z/b: b",
        ];
        expected.extend(["usr/lib/here/libx.so.1.2: x"]);
        expected.sort_unstable();
        assert_eq!(files(into.path(), Path::new("")), expected);
    }
}
