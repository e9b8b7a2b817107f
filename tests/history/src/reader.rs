//! Reads a history line by line, with a limit on each, checks it, and fetches what a report cites.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::checker::Checker;
use crate::error::HistoryError;
use crate::format::{Header, Line};
use crate::limits::LINE_BYTES_MAX;
use crate::report::Report;

/// Bytes of an excerpt's line that a report keeps.
const EXCERPT_BYTES_MAX: usize = 2_000;

struct Lines<R> {
    source: R,
    line: u64,
    bytes: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn new(source: R) -> Self {
        Self {
            source,
            line: 0,
            bytes: Vec::new(),
        }
    }

    /// The next line without its end; `None` behind the last.
    fn next(&mut self) -> Result<Option<&[u8]>, HistoryError> {
        self.bytes.clear();
        let line = self.line;
        let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        let mut bounded = (&mut self.source).take(limit.saturating_add(2));
        let read = bounded.read_until(b'\n', &mut self.bytes);
        let read = read.map_err(|source| HistoryError::Io { line, source })?;
        if read == 0 {
            return Ok(None);
        }
        self.line = line.saturating_add(1);
        if self.bytes.last() == Some(&b'\n') {
            self.bytes.pop();
        }
        if self.bytes.len() > LINE_BYTES_MAX {
            return Err(HistoryError::Limit {
                line: self.line,
                what: "bytes of a line",
                limit: LINE_BYTES_MAX,
            });
        }
        Ok(Some(&self.bytes))
    }
}

/// Checks a history that stands in a stream.
///
/// # Errors
/// [`HistoryError`]: it cannot be read, or is no history.
pub fn check(source: impl BufRead) -> Result<Report, HistoryError> {
    let mut lines = Lines::new(source);
    let Some(header) = lines.next()? else {
        return Err(HistoryError::NoHeader);
    };
    let header: Header = parse(header, 1)?;
    let mut checker = Checker::new(header)?;
    let mut number = 1_u64;
    while let Some(bytes) = lines.next()? {
        number = number.saturating_add(1);
        let line: Line = parse(bytes, number)?;
        checker.line(line)?;
    }
    Ok(checker.finish())
}

fn parse<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8], line: u64) -> Result<T, HistoryError> {
    serde_json::from_slice(bytes).map_err(|source| HistoryError::Syntax { line, source })
}

/// Adds the cited lines of the history to a report on it.
///
/// # Errors
/// [`HistoryError`]: it cannot be read again.
pub fn add_excerpts(report: &mut Report, source: impl BufRead) -> Result<(), HistoryError> {
    let cited = report.cited_lines();
    let mut texts = Vec::with_capacity(cited.len());
    let mut lines = Lines::new(source);
    let mut number = 0_u64;
    for wanted in &cited {
        let mut text = String::new();
        while number < *wanted {
            let Some(bytes) = lines.next()? else {
                break;
            };
            number = number.saturating_add(1);
            if number == *wanted {
                let cut = bytes.get(..EXCERPT_BYTES_MAX).unwrap_or(bytes);
                text = String::from_utf8_lossy(cut).into_owned();
            }
        }
        texts.push(text);
    }
    for anomaly in &mut report.anomalies {
        let places = anomaly.lines.iter().map(|line| cited.binary_search(line));
        let found = places.filter_map(|place| texts.get(place.ok()?).cloned());
        anomaly.excerpt = found.collect();
    }
    Ok(())
}

/// Checks the history in a file; the report holds the lines that it cites.
///
/// # Errors
/// [`HistoryError`]: it cannot be read, or is no history.
pub fn check_file(path: &Path) -> Result<Report, HistoryError> {
    let open = || {
        let file = std::fs::File::open(path);
        let file = file.map_err(|source| HistoryError::Io { line: 0, source })?;
        Ok::<_, HistoryError>(BufReader::with_capacity(1 << 16, file))
    };
    let mut report = check(open()?)?;
    if !report.clean {
        add_excerpts(&mut report, open()?)?;
    }
    Ok(report)
}
