//! What goes to the terminal: results to standard output, all else to standard error.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is what this program is for"
)]

use std::fmt::Display;
use std::io::Write as _;

use serde::Serialize;

use crate::args::Output;
use crate::error::Error;

/// Prints a result, for people or for programs.
pub(crate) fn print(output: Output, result: &impl Serialize, words: impl FnOnce() -> String) {
    match output {
        Output::Table => println!("{}", words()),
        Output::Json => {
            let json = serde_json::to_string_pretty(result).expect("results are plain data");
            println!("{json}");
        }
        Output::Yaml => {
            let yaml = serde_saphyr::to_string(result).expect("results are plain data");
            print!("{yaml}");
        }
    }
}

/// Rows below a head, in columns as wide as they need.
pub(crate) fn table<'a, const N: usize>(
    head: [&'a str; N],
    rows: impl Iterator<Item = [&'a str; N]>,
) -> String {
    let rows: Vec<[&str; N]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let lines = rows.iter().map(|row| {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("   ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What a cell of a table says: a dash when there is nothing to say.
pub(crate) fn or_none(words: &str) -> &str {
    if words.is_empty() { "-" } else { words }
}

/// Prints a piece of text as it is; answers whether anybody reads on.
pub(crate) fn print_piece(piece: &[u8]) -> Result<bool, Error> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(piece).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        // Whoever has read enough, such as `head`, has got what they wanted.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::Print(error)),
    }
}

/// Says something beside the result.
pub(crate) fn note(words: impl Display) {
    eprintln!("{words}");
}

/// Says why a command failed, with all causes and the next step.
pub(crate) fn fail(error: &Error) {
    eprintln!("error: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        eprintln!("  caused by: {source}");
        cause = source.source();
    }
    if let Some(hint) = error.hint() {
        eprintln!("hint: {hint}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let rows = [["sales", "hello"], ["a-long-name", "x"]];
        assert_eq!(
            table(["NAME", "APP"], rows.into_iter()),
            "NAME          APP\nsales         hello\na-long-name   x"
        );
    }
}
