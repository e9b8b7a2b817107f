//! Structured output: aligned columns for people, JSON for programs; always through one lock.

use std::io;
use std::io::Write as _;

use serde::Serialize;

use super::exit::Failure;
use super::paint::{Paint, Tone};

/// Where a column's cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows under a line of headings.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The whole table; columns are two spaces apart, no line ends in spaces.
    pub(crate) fn render(&self, paint: Paint) -> String {
        let width = |index: usize, name: &str| {
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            let cells = cells.map(|cell| cell.chars().count());
            cells.max().unwrap_or(0).max(name.chars().count())
        };
        let columns = self.columns.iter().enumerate();
        let widths: Vec<usize> = columns
            .map(|(index, (name, _))| width(index, name))
            .collect();
        let headings = self.columns.iter().map(|(name, _)| *name).collect();
        let mut text = paint.tone(Tone::Heading, &self.line(&widths, headings));
        text.push('\n');
        for row in &self.rows {
            text.push_str(&self.line(&widths, row.iter().map(String::as_str).collect()));
            text.push('\n');
        }
        text
    }

    fn line(&self, widths: &[usize], cells: Vec<&str>) -> String {
        let mut line = String::new();
        for ((cell, width), (_, align)) in cells.iter().zip(widths).zip(&self.columns) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            match align {
                Align::Left => line.push_str(&format!("{cell:<width$}")),
                Align::Right => line.push_str(&format!("{cell:>width$}")),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// A number, or a dash where there is none.
pub(crate) fn number_or_dash(number: Option<i64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// Writes to stdout, all at once.
pub(crate) fn put(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes());
    written
        .and_then(|()| stdout.flush())
        .map_err(Failure::output)
}

/// Writes a value as indented JSON.
pub(crate) fn put_json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| Failure::output(error.into()))?;
    put(&format!("{text}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_without_spaces() {
        let mut table = Table::new(&[("NAME", Align::Left), ("LAG", Align::Right)]);
        table.row(vec!["orders".into(), "12345".into()]);
        table.row(vec!["é".into(), number_or_dash(None)]);

        let text = table.render(Paint::Plain);

        assert_eq!(text, "NAME      LAG\norders  12345\né           -\n");
    }

    #[test]
    fn an_empty_table_is_its_headings() {
        let table = Table::new(&[("NAME", Align::Left), ("HOST", Align::Left)]);

        assert_eq!(table.render(Paint::Plain), "NAME  HOST\n");
    }
}
