//! What commands show: JSON for programs, text for people; one shape for every list.

use serde::Serialize;

use super::exit::Failure;
use super::paint::Paint;
use super::table::{Align, Table, put, put_json};
use super::{Common, Output};

/// Something that a command shows.
pub(crate) trait Show: Serialize {
    /// As people read it.
    fn text(&self, paint: Paint) -> String;
}

/// A line of a list: a JSON object, or a row of a table.
pub(crate) trait Row: Serialize {
    /// Headings of the table.
    const COLUMNS: &'static [(&'static str, Align)];

    /// One cell for each column.
    fn cells(&self) -> Vec<String>;
}

/// The table of some rows.
pub(crate) fn table_of<R: Row>(rows: &[R], paint: Paint) -> String {
    let mut table = Table::new(R::COLUMNS);
    for row in rows {
        table.row(row.cells());
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
        match self.output {
            Output::Json => put_json(shown),
            Output::Table => put(&shown.text(Paint::of_stdout(self.plainness))),
        }
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
