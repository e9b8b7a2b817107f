//! Cuts concatenated JSON documents out of a stream of bytes, whatever stands between them.

use bytes::{Buf as _, BytesMut};

use crate::intake::rest;

/// Bytes of which whole documents are cut.
#[derive(Debug, Default)]
pub(crate) struct JsonSplitter {
    buffer: BytesMut,
    /// Bytes looked at.
    scanned: usize,
    depth: u32,
    is_in_string: bool,
    is_escaped: bool,
}

/// What stands where a document should begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoObject {
    pub(crate) found: u8,
}

impl JsonSplitter {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Lets go of memory that holds nothing.
    pub(crate) fn rest(&mut self) {
        rest(&mut self.buffer);
    }

    /// The next object, when all of it is there. Only its braces are matched.
    pub(crate) fn next(&mut self) -> Result<Option<BytesMut>, NoObject> {
        if self.scanned == 0 {
            let blank = |byte: &u8| byte.is_ascii_whitespace();
            let blanks = self.buffer.iter().take_while(|byte| blank(byte)).count();
            self.buffer.advance(blanks);
            match self.buffer.first() {
                Some(b'{') => {}
                Some(found) => return Err(NoObject { found: *found }),
                None => return Ok(None),
            }
        }
        let rest = self.buffer.get(self.scanned..).unwrap_or_default();
        for (place, byte) in rest.iter().enumerate() {
            if self.is_in_string {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => self.is_in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.is_in_string = true,
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            if self.depth == 0 {
                let end = self.scanned + place + 1;
                self.scanned = 0;
                return Ok(Some(self.buffer.split_to(end)));
            }
        }
        self.scanned = self.buffer.len();
        Ok(None)
    }
}

/// The text without the blanks between its tokens.
pub(crate) fn compact(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let (mut is_in_string, mut is_escaped) = (false, false);
    for letter in json.chars() {
        if is_in_string {
            match letter {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                '"' => is_in_string = false,
                _ => {}
            }
        } else if letter == '"' {
            is_in_string = true;
        } else if letter.is_ascii_whitespace() {
            continue;
        }
        text.push(letter);
    }
    text
}
