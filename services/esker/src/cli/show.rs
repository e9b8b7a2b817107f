//! What commands show: JSON for programs, text for people; one shape for every list.

use serde::Serialize;

use super::exit::Failure;
use super::paint::Paint;
use super::table::{Align, Table, put, put_json};
use super::{Common, Output, Plainness};

/// Something that a command shows.
pub(crate) trait Show: Serialize {
    /// As people read it.
    fn text(&self, paint: Paint) -> String;
}

/// A column of a table: its heading, and what a row shows there.
pub(crate) struct Column<R> {
    name: &'static str,
    align: Align,
    cell: fn(&R) -> String,
}

/// A column of words.
pub(crate) const fn left<R>(name: &'static str, cell: fn(&R) -> String) -> Column<R> {
    Column {
        name,
        align: Align::Left,
        cell,
    }
}

/// A column of numbers.
pub(crate) const fn right<R>(name: &'static str, cell: fn(&R) -> String) -> Column<R> {
    Column {
        name,
        align: Align::Right,
        cell,
    }
}

/// A line of a list: a JSON object, or a row of a table.
pub(crate) trait Row: Serialize + Sized + 'static {
    /// Columns of the table.
    const COLUMNS: &'static [Column<Self>];
}

/// The table of some rows.
pub(crate) fn table_of<R: Row>(rows: &[R], paint: Paint) -> String {
    let columns = R::COLUMNS.iter();
    let headings: Vec<_> = columns.map(|column| (column.name, column.align)).collect();
    let mut table = Table::new(&headings);
    for row in rows {
        let columns = R::COLUMNS.iter();
        table.row(columns.map(|column| (column.cell)(row)).collect());
    }
    table.render(paint)
}

impl<R: Row> Show for Vec<R> {
    fn text(&self, paint: Paint) -> String {
        table_of(self, paint)
    }
}

impl Common {
    /// Writes it to stdout in the form that was asked for.
    pub(crate) fn show(&self, shown: &impl Show) -> Result<(), Failure> {
        show(self.output, self.plainness, shown)
    }
}

/// Writes it to stdout in this form.
pub(crate) fn show(output: Output, plainness: Plainness, shown: &impl Show) -> Result<(), Failure> {
    match output {
        Output::Json => put_json(shown),
        Output::Table => put(&shown.text(Paint::of_stdout(plainness))),
    }
}

/// What is told in words on stderr, or as JSON on stdout.
pub(crate) fn tell(common: &Common, words: &str, json: &impl Serialize) -> Result<(), Failure> {
    match common.output {
        Output::Json => put_json(json),
        Output::Table => {
            super::exit::say(words);
            Ok(())
        }
    }
}
