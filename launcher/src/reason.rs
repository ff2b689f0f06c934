//! Why a process ended, from how it ended and its last lines.

use crate::exit::Exit;
use crate::memory::Shortage;
use crate::process::Ended;
use crate::tail::cut;

/// Longest text taken from a process.
const BYTES: usize = 1_500;

/// Lines that may follow a traceback's last line for it to be the reason still.
const AFTERMATH: usize = 10;

/// uv's word for requirements that no versions meet.
const UNSOLVABLE: &str = "No solution found";

const TRACEBACK: &str = "Traceback (most recent call last):";

/// A process that the launcher watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// waved.
    Server,
    /// The app.
    App,
}

impl Who {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Server => "the Wave server",
            Self::App => "the app",
        }
    }
}

/// One line that tells which process ended, how, and its deciding line.
pub(crate) fn describe(who: Who, ended: &Ended) -> String {
    let Ended {
        exit,
        tail,
        shortage,
    } = ended;
    let name = who.name();
    if exit.is_kill() {
        // Whoever killed it, its last lines do not say why.
        return format!("{name} {}", killed(*exit, *shortage));
    }
    let words = match (exit, who) {
        (Exit::Code(_), Who::App) => of_python(tail),
        (Exit::Code(_), Who::Server) => of_go(tail),
        (Exit::Signal(_), _) => None,
    };
    let text = match words {
        Some(words) => format!("{name} {exit}: {}", cut(&words, BYTES)),
        None => format!("{name} {exit}"),
    };
    match shortage {
        // Not it, but one that it had started.
        Shortage::Seen(limit) => format!(
            "{text}; before that the kernel killed a process, since the container used {limit}"
        ),
        Shortage::None | Shortage::Unknown => text,
    }
}

/// How a process ended that was killed outright, after its name.
fn killed(exit: Exit, shortage: Shortage) -> String {
    match shortage {
        Shortage::Seen(limit) => format!("used {limit}, and the kernel killed it"),
        Shortage::None => exit.to_string(),
        Shortage::Unknown => {
            format!("{exit}, most likely because it used more memory than its limit")
        }
    }
}

/// How a program ended that installs what an app requires, when its last lines do not say why.
pub(crate) fn of_kill(program: &str, ended: &Ended) -> Option<String> {
    let Ended { exit, shortage, .. } = ended;
    if !exit.is_kill() {
        return None;
    }
    let hint = match shortage {
        Shortage::Seen(_) | Shortage::Unknown => {
            " (hint: raise `[Runtime] MemoryLimit` in app.toml; for the job that builds an environment, `environments.memory` in \
             the store's values)"
        }
        Shortage::None => "",
    };
    Some(format!("{program} {}{hint}", killed(*exit, *shortage)))
}

/// What the app's author may do about it.
pub(crate) fn hint(ended: &Ended, reason: &str) -> Option<String> {
    let is_short = match ended.shortage {
        Shortage::Seen(_) => true,
        Shortage::None => false,
        Shortage::Unknown => ended.exit.is_kill(),
    };
    if is_short {
        return Some(
            "raise `[Runtime] MemoryLimit` in app.toml, or choose a larger size".to_owned(),
        );
    }
    if is_full(reason) {
        return Some(
            "one of its folders is full: let it keep less there, or raise the limit of that one: `VolumeSize` or \
             `ResourceVolumeSize` in `[Runtime]` of app.toml, for shared memory `MemoryLimit`"
                .to_owned(),
        );
    }
    if reason.contains("OIDC provider") {
        return Some(
            "the Wave server asks the OIDC provider at start: may this pod reach \
             `H2O_WAVE_OIDC_PROVIDER_URL`?"
                .to_owned(),
        );
    }
    let quoted = |text: &str, mark: char| -> Option<String> {
        let (_, rest) = reason.split_once(text)?;
        let name = rest.split(mark).nth(1)?;
        Some(name.to_owned())
    };
    if let Some(module) = quoted("Could not import module", '"') {
        return Some(format!(
            "`[Runtime] Module` of app.toml names `{module}`: is the file in the bundle?"
        ));
    }
    if let Some(attribute) = quoted("Error loading ASGI app. Attribute", '"') {
        return Some(format!(
            "the module that `[Runtime] Module` of app.toml names must import `{attribute}` from h2o_wave"
        ));
    }
    if let Some(module) = quoted("ModuleNotFoundError: No module named", '\'') {
        let package = module.split('.').next().unwrap_or_default();
        return Some(format!(
            "add the package that has `{package}` to requirements.txt"
        ));
    }
    None
}

/// The exception that ended a Python program, or else its last error, or else its last line.
fn of_python(tail: &[String]) -> Option<String> {
    let trace = tail.iter().rposition(|line| line.contains(TRACEBACK));
    let after_trace = trace.and_then(|start| {
        let body = &tail[start + 1..];
        body.iter()
            .position(|line| is_outdented(line))
            .map(|offset| start + 1 + offset)
    });
    let exception =
        after_trace.or_else(|| tail.iter().rposition(|line| looks_like_exception(line)));
    if let Some(at) = exception
        && tail.len() - at <= AFTERMATH
    {
        return Some(tail[at].trim().to_owned());
    }
    tail.iter()
        .rev()
        .find_map(|line| line.strip_prefix("ERROR"))
        .map(|text| text.trim_start_matches([':', ' ']).trim_end().to_owned())
        .or_else(|| last(tail))
}

/// Whether these words tell of a full disk, in those of the system.
fn is_full(words: &str) -> bool {
    words.contains("No space left on device")
}

fn is_outdented(line: &str) -> bool {
    line.chars()
        .next()
        .is_some_and(|first| !first.is_whitespace() && first != '|')
}

/// Whether a line is like `package.NameError: text` or `KeyboardInterrupt`.
fn looks_like_exception(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or_default();
    ["Error", "Exception", "Interrupt", "Exit"]
        .iter()
        .any(|end| name.ends_with(end))
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
}

/// What a Go program said when it gave up.
fn of_go(tail: &[String]) -> Option<String> {
    tail.iter()
        .find(|line| line.contains("panic: ") || line.starts_with("fatal error: "))
        .map(|line| line.trim().to_owned())
        .or_else(|| last(tail))
}

fn last(tail: &[String]) -> Option<String> {
    tail.iter()
        .rev()
        .map(|line| line.trim())
        .find(|line| !line.is_empty())
        .map(str::to_owned)
}

/// Whether uv says that no versions fit together, or are there at all: not that it could not ask.
pub(crate) fn is_unsolvable(tail: &[String]) -> bool {
    tail.iter().any(|line| line.contains(UNSOLVABLE))
}

/// What uv says of a failure: its error and the causes, without the frame and the colour.
///
/// ```text
/// error: No solution found when resolving dependencies
///   cause: Because there is no version of h2o-wave==99.1 and ...
/// ```
pub(crate) fn of_uv(tail: &[String]) -> String {
    let start = tail.iter().position(|line| {
        let line = line.trim_start();
        line.starts_with("error:") || line.starts_with('×')
    });
    let Some(start) = start else {
        return last(tail).unwrap_or_else(|| "uv said nothing".to_owned());
    };
    let lines = &tail[start..];
    // A build's own output: only its deciding line counts.
    let build = lines.iter().position(|line| line.trim() == "[stderr]");
    let (lines, output) = lines.split_at(build.unwrap_or(lines.len()));

    let mut text = String::new();
    for line in lines.iter().map(|line| line.trim()) {
        let words = line
            .trim_start_matches(['×', '╰', '├', '─', '▶', '│', ' '])
            .trim();
        if words.is_empty() || words.starts_with("[stdout]") {
            continue;
        }
        let (is_cause, words) = ["error:", "cause:", "Caused by:"]
            .iter()
            .find_map(|label| words.strip_prefix(label))
            .map_or((words.len() < line.len(), words), |rest| {
                (true, rest.trim())
            });
        if !text.is_empty() {
            text.push_str(if is_cause { ": " } else { " " });
        }
        text.push_str(words.strip_suffix(':').unwrap_or(words));
    }
    let output: Vec<String> = output
        .iter()
        .skip(1)
        .map(|line| line.trim().to_owned())
        .collect();
    if let Some(words) = of_build(&output) {
        text.push_str(": ");
        text.push_str(&words);
    }
    cut(&text, BYTES).to_owned()
}

/// What to do about what uv says, as [`of_uv`] tells it.
pub(crate) fn hint_of_uv(words: &str) -> Option<&'static str> {
    // The first that fits: an index that refuses also seems to lack the package, and then there is no solution either.
    const HINTS: [(&[&str], &str); 7] = [
        (&["No space left on device"], FULL),
        (
            &["401 Unauthorized", "403 Forbidden"],
            "give pods the user and password of the index by `instances.env` in the store's values",
        ),
        (
            &["was not found in the package registry"],
            "is its name right, and does the index have it that `instances.env` in the store's values names?",
        ),
        (
            &["there is no version of"],
            "let requirements.txt name a version that the index has",
        ),
        (
            &[UNSOLVABLE],
            "let requirements.txt name versions that go together",
        ),
        (
            &["build backend"],
            "it has no wheel for this Python, so it is built, and that fails: name a version that has one",
        ),
        (
            &["Failed to fetch", "Failed to download", "Request failed"],
            "does the index of packages answer, and may this pod reach it? `instances.env` in the store's values names it",
        ),
    ];
    let fits = |marks: &[&str]| marks.iter().any(|mark| words.contains(mark));
    HINTS
        .iter()
        .find(|(marks, _)| fits(marks))
        .map(|(_, hint)| *hint)
}

/// What to do when the launcher finds a disk full.
pub(crate) const FULL: &str = "make room on the disk of the pod's node, or raise `ResourceVolumeSize` in `[Runtime]` of app.toml where \
    `/resources` is a volume";

/// The deciding line of a package's build, all of whose lines are indented by uv.
fn of_build(output: &[String]) -> Option<String> {
    output
        .iter()
        .rev()
        .find(|line| looks_like_exception(line) || line.starts_with("error:"))
        .cloned()
        .or_else(|| last(output))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Limit;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    fn ended(exit: Exit, tail: Vec<String>) -> Ended {
        Ended {
            exit,
            tail,
            shortage: Shortage::None,
        }
    }

    #[test]
    fn the_deciding_line_of_an_app_is_found() {
        let cases = [
            (
                "an exception at import",
                Exit::Code(1),
                "INFO:     Started server process [7]\n\
                 Traceback (most recent call last):\n  File \"/app/app.py\", line 8, in <module>\n    \
                 raise RuntimeError(\"the database password is missing\")\n\
                 RuntimeError: the database password is missing",
                "the app ended with code 1: RuntimeError: the database password is missing",
            ),
            (
                "a module that is not there",
                Exit::Code(1),
                "ERROR:    Error loading ASGI app. Could not import module \"nope\".",
                "the app ended with code 1: Error loading ASGI app. Could not import module \"nope\".",
            ),
            (
                "an exception of the framework, with words after it",
                Exit::Code(3),
                "ERROR:    Traceback (most recent call last):\n  File \"x.py\", line 1, in lifespan\n\
                 ConnectionError: Could not connect to Wave server. Make sure it is running.\n\n\
                 ERROR:    Application startup failed. Exiting.",
                "the app ended with code 3: ConnectionError: Could not connect to Wave server. Make sure it is running.",
            ),
            (
                "a chain of exceptions: the last one counts",
                Exit::Code(1),
                "Traceback (most recent call last):\n  File \"a\"\nKeyError: 'x'\n\n\
                 During handling of the above exception, another exception occurred:\n\n\
                 Traceback (most recent call last):\n  File \"b\"\nValueError: no x",
                "the app ended with code 1: ValueError: no x",
            ),
            (
                "a traceback whose beginning is lost",
                Exit::Code(1),
                "  File \"b\", line 3\npydantic.errors.ConfigError: no field",
                "the app ended with code 1: pydantic.errors.ConfigError: no field",
            ),
            (
                "its own words",
                Exit::Code(2),
                "please set TOKEN\n\n",
                "the app ended with code 2: please set TOKEN",
            ),
            ("no words", Exit::Code(3), "", "the app ended with code 3"),
            (
                "killed by somebody, whatever it said before",
                Exit::Signal(9),
                "ValueError: handled",
                "the app was killed by SIGKILL",
            ),
            (
                "a crash of native code",
                Exit::Signal(11),
                "INFO: all is well",
                "the app was killed by SIGSEGV",
            ),
        ];
        for (name, exit, tail, expected) in cases {
            let ended = ended(exit, lines(tail));
            assert_eq!(describe(Who::App, &ended), expected, "{name}");
        }
    }

    #[test]
    fn want_of_memory_is_told_apart_from_a_crash() {
        let limit = Shortage::Seen(Limit::of(128 << 20));
        let raise = "raise `[Runtime] MemoryLimit` in app.toml, or choose a larger size";
        let cases = [
            (
                "the kernel says so",
                Exit::Signal(9),
                limit,
                "the app used more memory than its limit of 128Mi, and the kernel killed it",
                Some(raise),
            ),
            (
                "the kernel says that it was somebody else",
                Exit::Signal(9),
                Shortage::None,
                "the app was killed by SIGKILL",
                None,
            ),
            (
                "the kernel says nothing",
                Exit::Signal(9),
                Shortage::Unknown,
                "the app was killed by SIGKILL, most likely because it used more memory than its limit",
                Some(raise),
            ),
            (
                "a process of the app was killed, and the app gave up",
                Exit::Code(1),
                limit,
                "the app ended with code 1: BrokenProcessPool: a process was terminated abruptly; before that the kernel killed a \
                 process, since the container used more memory than its limit of 128Mi",
                Some(raise),
            ),
            (
                "a crash where the kernel says nothing",
                Exit::Code(1),
                Shortage::Unknown,
                "the app ended with code 1: BrokenProcessPool: a process was terminated abruptly",
                None,
            ),
        ];
        for (name, exit, shortage, expected, next) in cases {
            let ended = Ended {
                exit,
                tail: lines("BrokenProcessPool: a process was terminated abruptly"),
                shortage,
            };
            let reason = describe(Who::App, &ended);
            assert_eq!(reason, expected, "{name}");
            assert_eq!(hint(&ended, &reason).as_deref(), next, "{name}");
        }
        let uv = Ended {
            exit: Exit::Signal(9),
            tail: lines("Resolved 3 packages"),
            shortage: limit,
        };
        assert_eq!(
            of_kill("uv", &uv).as_deref(),
            Some(
                "uv used more memory than its limit of 128Mi, and the kernel killed it (hint: raise `[Runtime] MemoryLimit` in \
                 app.toml; for the job that builds an environment, `environments.memory` in the store's values)"
            )
        );
    }

    #[test]
    fn an_exception_long_ago_is_not_the_reason() {
        let mut tail =
            lines("Traceback (most recent call last):\n  File \"a\"\nValueError: handled");
        tail.extend((0..20).map(|number| format!("request {number}")));
        assert_eq!(
            describe(Who::App, &ended(Exit::Code(3), tail)),
            "the app ended with code 3: request 19"
        );
    }

    #[test]
    fn the_deciding_line_of_the_server_is_found() {
        let cases = [
            (
                "panic: could not find www\n\ngoroutine 1 [running]:\nmain.main()",
                "the Wave server ended with code 2: panic: could not find www",
            ),
            (
                "2026/11/24 13:57:02 # listen tcp :10101: bind: address already in use",
                "the Wave server ended with code 2: 2026/11/24 13:57:02 # listen tcp :10101: bind: address already in use",
            ),
        ];
        for (tail, expected) in cases {
            let ended = ended(Exit::Code(2), lines(tail));
            assert_eq!(describe(Who::Server, &ended), expected);
        }
    }

    #[test]
    fn the_deciding_lines_of_uv_are_found() {
        let cases = [
            (
                "a package that does not exist",
                "Using Python 3.11.7 environment at: v\nerror: No solution found when resolving dependencies\n  \
                 cause: Because wavestore-no-such-package was not found in the package registry and you require \
                 wavestore-no-such-package, we can conclude that your requirements are unsatisfiable.",
                "No solution found when resolving dependencies: Because wavestore-no-such-package was not found in \
                 the package registry and you require wavestore-no-such-package, we can conclude that your \
                 requirements are unsatisfiable.",
            ),
            (
                "the frame of older versions",
                "  × No solution found when resolving dependencies:\n  ╰─▶ Because x was not found\n      in the package registry, no.",
                "No solution found when resolving dependencies: Because x was not found in the package registry, no.",
            ),
            (
                "several causes",
                "error: Request failed after 1 retry in 1.7s\n  cause: Failed to fetch: http://127.0.0.1:9/simple/h2o-wave/\n  \
                 cause: Connection refused (os error 111)",
                "Request failed after 1 retry in 1.7s: Failed to fetch: http://127.0.0.1:9/simple/h2o-wave/: \
                 Connection refused (os error 111)",
            ),
            (
                "a build that fails",
                "error: The build backend returned an error\n  cause: Call to `x` failed (exit status: 1)\n\n         \
                 [stderr]\n         Traceback (most recent call last):\n           File \"<string>\", line 14\n         \
                 RuntimeError: no compiler here",
                "The build backend returned an error: Call to `x` failed (exit status: 1): RuntimeError: no compiler here",
            ),
            ("nothing", "", "uv said nothing"),
        ];
        for (name, tail, expected) in cases {
            assert_eq!(of_uv(&lines(tail)), expected, "{name}");
        }
    }

    #[test]
    fn hints_name_one_next_step() {
        let cases = [
            (
                Exit::Code(1),
                "the app ended with code 1: OSError: [Errno 28] No space left on device: '/data/x'",
                Some(
                    "one of its folders is full: let it keep less there, or raise the limit of that one: `VolumeSize` or \
                     `ResourceVolumeSize` in `[Runtime]` of app.toml, for shared memory `MemoryLimit`",
                ),
            ),
            (
                Exit::Code(1),
                "the app ended with code 1: ModuleNotFoundError: No module named 'pandas.core'",
                Some("add the package that has `pandas` to requirements.txt"),
            ),
            (
                Exit::Code(1),
                "Error loading ASGI app. Could not import module \"src.run\".",
                Some("`[Runtime] Module` of app.toml names `src.run`: is the file in the bundle?"),
            ),
            (
                Exit::Code(1),
                "Error loading ASGI app. Attribute \"main\" not found in module \"app\".",
                Some(
                    "the module that `[Runtime] Module` of app.toml names must import `main` from h2o_wave",
                ),
            ),
            (
                Exit::Code(2),
                "the Wave server ended with code 2: panic: failed connecting to OIDC provider: Get x",
                Some(
                    "the Wave server asks the OIDC provider at start: may this pod reach \
                     `H2O_WAVE_OIDC_PROVIDER_URL`?",
                ),
            ),
            (Exit::Code(1), "ValueError: x", None),
        ];
        for (exit, reason, expected) in cases {
            let ended = ended(exit, Vec::new());
            assert_eq!(hint(&ended, reason).as_deref(), expected, "{reason}");
        }
    }
}
