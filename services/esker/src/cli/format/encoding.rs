//! Bytes to text and back: base64, hexadecimal digits, JSON on one line.

use std::io;
use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;

use super::Encoding;

impl Encoding {
    /// Writes bytes; nothing, or JSON's null, where there are none.
    pub(super) fn write(self, out: &mut impl Write, bytes: Option<&Bytes>) -> io::Result<()> {
        let Some(bytes) = bytes else {
            return match self {
                Self::Json => out.write_all(b"null"),
                Self::Text | Self::Base64 | Self::Hex => Ok(()),
            };
        };
        match self {
            Self::Text => out.write_all(bytes),
            Self::Base64 => out.write_all(STANDARD.encode(bytes).as_bytes()),
            Self::Hex => out.write_all(to_hex(bytes).as_bytes()),
            Self::Json => match json_document(bytes) {
                Some(document) => out.write_all(document.get().as_bytes()),
                None => {
                    let text = String::from_utf8_lossy(bytes);
                    Ok(serde_json::to_writer(&mut *out, &text)?)
                }
            },
        }
    }

    /// The bytes that a text stands for.
    ///
    /// # Errors
    /// What is wanted instead.
    pub(crate) fn read(self, text: Bytes) -> Result<Bytes, &'static str> {
        match self {
            Self::Text => Ok(text),
            Self::Base64 => {
                let bytes = STANDARD.decode(text.trim_ascii());
                bytes.map(Bytes::from).map_err(|_| "base64 is wanted")
            }
            Self::Hex => {
                let bytes = from_hex(text.trim_ascii());
                bytes
                    .map(Bytes::from)
                    .ok_or("pairs of hexadecimal digits are wanted")
            }
            Self::Json => match json_document(&text) {
                Some(_) => Ok(text),
                None => Err("a JSON document is wanted"),
            },
        }
    }
}

/// The document without the white space between its tokens; `None` where it is no JSON.
pub(super) fn json_document(bytes: &[u8]) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(bytes).ok()?;
    serde_json::from_str::<&RawValue>(text).ok()?;
    let mut compact = String::with_capacity(text.len());
    let (mut in_string, mut is_escaped) = (false, false);
    for letter in text.chars() {
        if in_string {
            in_string = is_escaped || letter != '"';
            is_escaped = !is_escaped && letter == '\\';
        } else if letter.is_ascii_whitespace() {
            continue;
        } else {
            in_string = letter == '"';
        }
        compact.push(letter);
    }
    RawValue::from_string(compact).ok()
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let pairs = digits.chunks_exact(2);
    let bytes = pairs.map(|pair| {
        let (high, low) = (digit(*pair.first()?)?, digit(*pair.last()?)?);
        u8::try_from(high * 16 + low).ok()
    });
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let bytes = Bytes::from_static(&[0, 0xff, b'a']);
        for encoding in [Encoding::Text, Encoding::Base64, Encoding::Hex] {
            let mut text = Vec::new();
            encoding.write(&mut text, Some(&bytes)).unwrap();

            assert_eq!(encoding.read(Bytes::from(text)), Ok(bytes.clone()));
        }
    }

    #[test]
    fn what_is_not_in_its_encoding_is_refused() {
        for (encoding, text) in [
            (Encoding::Base64, "a"),
            (Encoding::Hex, "abc"),
            (Encoding::Hex, "zz"),
            (Encoding::Json, "{"),
            (Encoding::Json, "1 2"),
        ] {
            assert!(encoding.read(Bytes::from(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn json_is_made_one_line_and_keeps_its_strings_and_numbers() {
        let text = "{\n \"a b\": \"x \\\" y\\\\\", \"n\": 12345678901234567890.10 }";

        let document = json_document(text.as_bytes()).unwrap();

        assert_eq!(
            document.get(),
            r#"{"a b":"x \" y\\","n":12345678901234567890.10}"#
        );
        assert!(json_document(b"\xff").is_none());
    }

    #[test]
    fn none_is_nothing_and_in_json_null() {
        let written = |encoding: Encoding| {
            let mut text = Vec::new();
            encoding.write(&mut text, None).unwrap();
            text
        };

        assert_eq!(written(Encoding::Hex), b"");
        assert_eq!(written(Encoding::Json), b"null");
    }
}
