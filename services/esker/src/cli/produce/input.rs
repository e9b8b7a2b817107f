//! Input: pieces of a file or stdin, lines out of pieces.

use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::cli::exit::{Cause, Failure};
use crate::cli::limits::{INPUT_CHUNK_BYTES, INPUT_CHUNKS_MAX, LINE_BYTES_MAX};

/// Pieces of the input, read ahead by a thread of its own.
#[derive(Debug)]
pub(super) struct Input {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    bytes: Option<u64>,
}

impl Input {
    /// Opens a file, or stdin without one.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let mut bytes = None;
        let source: Box<dyn Read + Send> = match path {
            None => Box::new(io::stdin()),
            Some(path) => {
                let tried = || format!("open {}", path.display());
                let failed = |error| Failure::new(tried(), Cause::Input(error));
                let file = File::open(path).map_err(failed)?;
                let about = file.metadata().map_err(failed)?;
                bytes = about.is_file().then_some(about.len());
                Box::new(file)
            }
        };
        let (sender, chunks) = mpsc::channel(INPUT_CHUNKS_MAX);
        read_ahead(source, sender);
        Ok(Self { chunks, bytes })
    }

    /// How much it is, when that is known.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// The next piece; `None` at the end. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        let chunk = self.chunks.recv().await?;
        Some(chunk.map_err(|error| Failure::new("read the input", Cause::Input(error))))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a read of a terminal cannot be ended: a joined task would keep the process alive"
)]
fn read_ahead(mut source: Box<dyn Read + Send>, sender: mpsc::Sender<io::Result<Bytes>>) {
    std::thread::spawn(move || {
        loop {
            let mut chunk = vec![0; INPUT_CHUNK_BYTES];
            let sent = match source.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => {
                    chunk.truncate(count);
                    sender.blocking_send(Ok(Bytes::from(chunk)))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let _ = sender.blocking_send(Err(error));
                    break;
                }
            };
            if sent.is_err() {
                break;
            }
        }
    });
}

/// Cuts pieces into lines, without their line feeds.
#[derive(Debug, Default)]
pub(super) struct LineSplitter {
    partial: Vec<u8>,
}

impl LineSplitter {
    /// The lines that end in this piece.
    pub(super) fn split(&mut self, chunk: &Bytes) -> Result<Vec<Bytes>, Failure> {
        let mut lines = Vec::new();
        let mut rest = chunk.clone();
        while let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
            let end = rest.split_to(length);
            let _line_feed = rest.split_to(1);
            if self.partial.is_empty() {
                lines.push(end);
            } else {
                self.grow(&end)?;
                lines.push(Bytes::from(std::mem::take(&mut self.partial)));
            }
        }
        self.grow(&rest)?;
        Ok(lines)
    }

    fn grow(&mut self, more: &[u8]) -> Result<(), Failure> {
        if self.partial.len().saturating_add(more.len()) > LINE_BYTES_MAX {
            let bytes_max = LINE_BYTES_MAX;
            return Err(Failure::new("read the input", Cause::Line { bytes_max }));
        }
        self.partial.extend_from_slice(more);
        Ok(())
    }

    /// The last line, when no line feed ended it.
    pub(super) fn rest(&mut self) -> Option<Bytes> {
        let rest = std::mem::take(&mut self.partial);
        (!rest.is_empty()).then(|| Bytes::from(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&str]) -> Vec<Bytes> {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        for piece in pieces {
            lines.extend(splitter.split(&Bytes::from((*piece).to_owned())).unwrap());
        }
        lines.extend(splitter.rest());
        lines
    }

    #[test]
    fn lines_are_the_same_however_the_input_is_cut() {
        let expected = ["one", "", "three", "four"].map(Bytes::from);

        assert_eq!(lines(&["one\n\nthree\nfour"]), expected);
        assert_eq!(lines(&["one\n", "\nthr", "ee", "\nfo", "ur\n"]), expected);
        assert_eq!(lines(&[]), Vec::<Bytes>::new());
    }

    #[test]
    fn a_line_past_its_limit_is_refused() {
        let mut splitter = LineSplitter::default();
        let fits = Bytes::from(vec![b'x'; LINE_BYTES_MAX]);

        assert!(splitter.split(&fits).is_ok());
        assert!(splitter.split(&Bytes::from_static(b"x")).is_err());
    }
}
