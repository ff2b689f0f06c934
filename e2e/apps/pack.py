#!/usr/bin/env python3
"""Packs FOLDER into the bundle OUT, the same bytes for the same files.

usage: pack.py FOLDER OUT

Leaves out what the folder's .appignore names: one pattern a line, as for a shell, matched against
paths and against each of their parts. A folder with a file .appbase lies over another one: that
file names it, and the folder's own files win.
"""

import fnmatch
import pathlib
import sys
import zipfile

# The first day that zip archives know.
EPOCH = (1980, 1, 1, 0, 0, 0)
NEVER = {".appignore", ".appbase", "__pycache__"}


def files_of(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The bundle's paths and the files behind them."""
    base = folder / ".appbase"
    files = files_of(folder / base.read_text().strip()) if base.exists() else {}
    ignored = folder / ".appignore"
    patterns = [
        line.strip().rstrip("/")
        for line in (ignored.read_text().splitlines() if ignored.exists() else [])
        if line.strip() and not line.startswith("#")
    ]
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        parts = name.split("/")
        if not path.is_file() or NEVER & set(parts):
            continue
        candidates = ["/".join(parts[: end + 1]) for end in range(len(parts))] + parts
        if not any(fnmatch.fnmatch(text, pattern) for text in candidates for pattern in patterns):
            files[name] = path
    return files


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    folder = pathlib.Path(sys.argv[1])
    if not (folder / "app.toml").is_file():
        print(f"error: `{folder}` has no app.toml", file=sys.stderr)
        return 1
    with zipfile.ZipFile(sys.argv[2], "w", zipfile.ZIP_DEFLATED, compresslevel=9) as bundle:
        for name, path in sorted(files_of(folder).items()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            executable = path.stat().st_mode & 0o111
            entry.external_attr = (0o100755 if executable else 0o100644) << 16
            bundle.writestr(entry, path.read_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
