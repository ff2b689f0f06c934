//! One table of `app.toml`, from which keys are taken one by one; what is left over is unknown.

use std::str::FromStr;

use toml::{Table, Value};

use super::Findings;
use crate::problem::Fault;

/// A table whose known keys are taken out while it is read.
pub(crate) struct Section {
    /// In front of a key in messages, such as `[App] `.
    label: String,
    /// In front of a key in warnings, such as `App.`.
    path: String,
    table: Table,
    /// The keys that were asked for, to tell `name` from a key that nobody knows.
    asked: Vec<&'static str>,
}

impl Section {
    /// The file as a whole.
    pub(crate) fn root(table: Table) -> Self {
        Self {
            label: String::new(),
            path: String::new(),
            table,
            asked: Vec::new(),
        }
    }

    /// The name of `key` in messages.
    pub(crate) fn name(&self, key: &str) -> String {
        format!("{}{key}", self.label)
    }

    /// The name of the table itself in messages.
    pub(crate) fn own_name(&self) -> &str {
        self.label.trim_end()
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.asked.push(key);
        self.table.remove(key)
    }

    fn wrong_type(
        &self,
        key: &str,
        value: &Value,
        expected: &'static str,
        findings: &mut Findings,
    ) {
        let found = match value {
            Value::String(_) => "a string",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number with a fraction",
            Value::Boolean(_) => "true or false",
            Value::Datetime(_) => "a date or time",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
        };
        findings.problem(self.name(key), Fault::WrongType { found, expected });
    }

    fn wrong_items(&self, key: &str, expected: &'static str, findings: &mut Findings) {
        let found = "a list with something else in it";
        findings.problem(self.name(key), Fault::WrongType { found, expected });
    }

    /// The table `[key]`, if it is there.
    pub(crate) fn table(&mut self, key: &'static str, findings: &mut Findings) -> Option<Self> {
        self.table
            .contains_key(key)
            .then(|| self.table_or_empty(key, findings))?
    }

    /// The table `[key]`, empty if it is not there; `None` if it is something else.
    pub(crate) fn table_or_empty(
        &mut self,
        key: &'static str,
        findings: &mut Findings,
    ) -> Option<Self> {
        match self.take(key).unwrap_or_else(|| Value::Table(Table::new())) {
            Value::Table(table) => Some(Self {
                label: format!("[{key}] "),
                path: format!("{key}."),
                table,
                asked: Vec::new(),
            }),
            other => {
                self.wrong_type(key, &other, "a table", findings);
                None
            }
        }
    }

    /// The tables `[[key]]`.
    pub(crate) fn tables(&mut self, key: &'static str, findings: &mut Findings) -> Vec<Self> {
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        let Value::Array(values) = value else {
            self.wrong_type(key, &value, "a list of tables", findings);
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            let Value::Table(table) = value else {
                self.wrong_items(key, "a list of tables", findings);
                break;
            };
            sections.push(Self {
                label: format!("[[{key}]] #{} ", index + 1),
                path: format!("{key}.{}.", index + 1),
                table,
                asked: Vec::new(),
            });
        }
        sections
    }

    /// A text; an empty one is none.
    pub(crate) fn text(&mut self, key: &'static str, findings: &mut Findings) -> Option<String> {
        self.any_text(key, findings).filter(|text| !text.is_empty())
    }

    /// A text that may be empty.
    pub(crate) fn any_text(
        &mut self,
        key: &'static str,
        findings: &mut Findings,
    ) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            other => {
                self.wrong_type(key, &other, "a string", findings);
                None
            }
        }
    }

    /// A text for people: at most `limit` characters, no control characters but line ends and tabs.
    pub(crate) fn prose(
        &mut self,
        key: &'static str,
        limit: usize,
        findings: &mut Findings,
    ) -> Option<String> {
        let text = self.text(key, findings)?;
        match prose_fault(&text, limit) {
            Some(fault) => {
                findings.problem(self.name(key), fault);
                None
            }
            None => Some(text),
        }
    }

    /// A text that cannot be left out.
    pub(crate) fn required(
        &mut self,
        key: &'static str,
        findings: &mut Findings,
    ) -> Option<String> {
        let text = self.text(key, findings);
        if text.is_none() {
            findings.problem_once(&self.name(key), Fault::Missing);
        }
        text
    }

    /// A text or number, as text: `CPULimit = 2` means `"2"`.
    pub(crate) fn amount(&mut self, key: &'static str, findings: &mut Findings) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text).filter(|text| !text.is_empty()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            other => {
                self.wrong_type(key, &other, "a string", findings);
                None
            }
        }
    }

    /// One of the words of an enum.
    pub(crate) fn word<T: FromStr + Default>(
        &mut self,
        key: &'static str,
        allowed: &'static [&'static str],
        findings: &mut Findings,
    ) -> T {
        let Some(value) = self.text(key, findings) else {
            return T::default();
        };
        value.parse().unwrap_or_else(|_| {
            findings.problem(self.name(key), Fault::Unknown { value, allowed });
            T::default()
        })
    }

    /// `true` or `false`; default `false`.
    pub(crate) fn flag(&mut self, key: &'static str, findings: &mut Findings) -> bool {
        match self.take(key) {
            None => false,
            Some(Value::Boolean(flag)) => flag,
            Some(other) => {
                self.wrong_type(key, &other, "true or false", findings);
                false
            }
        }
    }

    /// A whole number.
    pub(crate) fn number(&mut self, key: &'static str, findings: &mut Findings) -> Option<i64> {
        match self.take(key)? {
            Value::Integer(number) => Some(number),
            other => {
                self.wrong_type(key, &other, "a whole number", findings);
                None
            }
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, key: &'static str, findings: &mut Findings) -> Vec<String> {
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        let Value::Array(values) = value else {
            self.wrong_type(key, &value, "a list of strings", findings);
            return Vec::new();
        };
        let mut texts = Vec::with_capacity(values.len());
        for value in values {
            let Value::String(text) = value else {
                self.wrong_items(key, "a list of strings", findings);
                break;
            };
            texts.push(text);
        }
        texts
    }

    /// Words of a command line: a list of texts, or one text that is split at white space.
    pub(crate) fn words(&mut self, key: &'static str, findings: &mut Findings) -> Vec<String> {
        match self.table.get(key) {
            Some(Value::String(text)) => {
                let words = text.split_whitespace().map(str::to_owned).collect();
                self.take(key);
                words
            }
            _ => self.texts(key, findings),
        }
    }

    /// Warns of the keys that nobody asked for.
    pub(crate) fn finish(self, findings: &mut Findings) {
        for (key, value) in &self.table {
            let kind = if self.path.is_empty() && value.is_table() {
                "table"
            } else {
                "key"
            };
            let near = self
                .asked
                .iter()
                .find(|asked| asked.eq_ignore_ascii_case(key));
            let name = format!("{}{key}", self.path);
            findings.warn(match near {
                Some(near) => {
                    format!(
                        "{kind} `{name}` is unknown and ignored; `{near}` is the one with a meaning"
                    )
                }
                None => format!("{kind} `{name}` is unknown and ignored"),
            });
        }
    }
}

/// What makes `text` unfit to be shown to people, if anything.
pub(crate) fn prose_fault(text: &str, limit: usize) -> Option<Fault> {
    let length = text.chars().count();
    if length > limit {
        return Some(Fault::TooLong { length, limit });
    }
    let character = text
        .chars()
        .find(|c| c.is_control() && !"\n\r\t".contains(*c))?;
    Some(Fault::ControlCharacter { character })
}
