//! `Tail`: the last lines of a process.

use std::collections::VecDeque;

/// Lines kept. A traceback of Python through a web framework takes about fifty.
const LINES: usize = 80;

/// Bytes kept of a line.
const LINE_BYTES: usize = 2_000;

/// The last lines that a process wrote.
#[derive(Debug, Default)]
pub(crate) struct Tail(VecDeque<String>);

impl Tail {
    pub(crate) fn push(&mut self, line: &str) {
        if self.0.len() == LINES {
            self.0.pop_front();
        }
        self.0.push_back(cut(line, LINE_BYTES).to_owned());
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.0.into()
    }
}

/// The beginning of `text`, at most `bytes` long.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut tail = Tail::default();
        for number in 0..200 {
            tail.push(&number.to_string());
        }
        tail.push(&"é".repeat(LINE_BYTES));
        let lines = tail.into_lines();
        assert_eq!((lines.len(), lines[0].as_str()), (LINES, "121"));
        assert_eq!(lines.last().map(String::len), Some(LINE_BYTES));
    }
}
