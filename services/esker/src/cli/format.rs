//! Records as text: a format of `%` signs, or one JSON object a line.

mod encoding;

use std::io;
use std::io::Write;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use esker_record::Record;
use serde::{Serialize, Serializer};

/// How bytes are written, and read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Encoding {
    /// As they are; in JSON as text where they are text, else {"base64": …}
    #[default]
    Text,
    /// A JSON document on one line; what is none is a JSON string
    Json,
    /// Base64
    Base64,
    /// Pairs of hexadecimal digits
    Hex,
}

/// How the parts of a record are written, and read.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Encodings {
    /// What keys look like
    #[arg(
        id = "key-format",
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub(crate) key: Encoding,
    /// What values look like
    #[arg(
        id = "value-format",
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub(crate) value: Encoding,
    /// What values of headers look like
    #[arg(
        id = "header-format",
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub(crate) header: Encoding,
}

/// A piece of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    KeyBytes,
    Value,
    ValueBytes,
    Headers,
}

/// How each record is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format(Vec<Piece>);

/// A format that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormatError {
    #[error(
        "after % one of t p o T k K v V h % is wanted: topic, partition, offset, timestamp, key, \
         bytes of the key, value, bytes of the value, headers"
    )]
    Field,
    #[error("after \\ one of n t r 0 \\ or xHH is wanted")]
    Escape,
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let mut pieces = Vec::new();
        let mut plain = Vec::new();
        let mut rest = text.chars();
        while let Some(next) = rest.next() {
            match next {
                '\\' => plain.push(escaped(&mut rest)?),
                '%' => match field(rest.next())? {
                    None => plain.push(b'%'),
                    Some(piece) => {
                        if !plain.is_empty() {
                            pieces.push(Piece::Text(std::mem::take(&mut plain)));
                        }
                        pieces.push(piece);
                    }
                },
                other => plain.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }
}

fn escaped(rest: &mut std::str::Chars<'_>) -> Result<u8, FormatError> {
    match rest.next() {
        Some('n') => Ok(b'\n'),
        Some('t') => Ok(b'\t'),
        Some('r') => Ok(b'\r'),
        Some('0') => Ok(0),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let mut digit = || rest.next().and_then(|digit| digit.to_digit(16));
            let (Some(high), Some(low)) = (digit(), digit()) else {
                return Err(FormatError::Escape);
            };
            u8::try_from(high * 16 + low).map_err(|_| FormatError::Escape)
        }
        _ => Err(FormatError::Escape),
    }
}

/// The field of a letter; `None` for a percent sign.
fn field(letter: Option<char>) -> Result<Option<Piece>, FormatError> {
    Ok(Some(match letter {
        Some('%') => return Ok(None),
        Some('t') => Piece::Topic,
        Some('p') => Piece::Partition,
        Some('o') => Piece::Offset,
        Some('T') => Piece::Timestamp,
        Some('k') => Piece::Key,
        Some('K') => Piece::KeyBytes,
        Some('v') => Piece::Value,
        Some('V') => Piece::ValueBytes,
        Some('h') => Piece::Headers,
        _ => return Err(FormatError::Field),
    }))
}

impl Format {
    /// Values, each on a line.
    pub(crate) fn values() -> Self {
        Self(vec![Piece::Value, Piece::Text(b"\n".to_vec())])
    }

    /// Writes one record. What is null is written as nothing; its length is -1.
    pub(crate) fn write(
        &self,
        out: &mut impl Write,
        encodings: Encodings,
        place: (&str, i32),
        record: &Record,
    ) -> io::Result<()> {
        let (topic, partition) = place;
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.write_all(text)?,
                Piece::Topic => out.write_all(topic.as_bytes())?,
                Piece::Partition => write!(out, "{partition}")?,
                Piece::Offset => write!(out, "{}", record.offset)?,
                Piece::Timestamp => write!(out, "{}", record.timestamp.millis())?,
                Piece::Key => encodings.key.write(out, record.key.as_ref())?,
                Piece::KeyBytes => write_length(out, record.key.as_ref())?,
                Piece::Value => encodings.value.write(out, record.value.as_ref())?,
                Piece::ValueBytes => write_length(out, record.value.as_ref())?,
                Piece::Headers => write_headers(out, encodings.header, &record.headers)?,
            }
        }
        Ok(())
    }
}

fn write_length(out: &mut impl Write, bytes: Option<&Bytes>) -> io::Result<()> {
    match bytes {
        Some(bytes) => write!(out, "{}", bytes.len()),
        None => out.write_all(b"-1"),
    }
}

/// `name=value,name=value`; a header without a value is its name alone.
fn write_headers(
    out: &mut impl Write,
    encoding: Encoding,
    headers: &[(Bytes, Option<Bytes>)],
) -> io::Result<()> {
    for (index, (name, value)) in headers.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        out.write_all(name)?;
        if value.is_some() {
            out.write_all(b"=")?;
            encoding.write(out, value.as_ref())?;
        }
    }
    Ok(())
}

/// Bytes in their encoding. Text is text where it is UTF-8, `{"base64": "…"}` where it is not: as
/// in Esker's HTTP API.
#[derive(Clone, Copy, Debug)]
struct JsonBytes<'a>(Encoding, &'a [u8]);

impl Serialize for JsonBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(encoding, bytes) = self;
        let text = match encoding {
            Encoding::Text => None,
            Encoding::Json => match encoding::json_document(bytes) {
                Some(document) => return document.serialize(serializer),
                None => None,
            },
            Encoding::Base64 => Some(STANDARD.encode(bytes)),
            Encoding::Hex => Some(encoding::to_hex(bytes)),
        };
        match (text, std::str::from_utf8(bytes)) {
            (Some(text), _) => serializer.serialize_str(&text),
            (None, Ok(text)) => serializer.serialize_str(text),
            (None, Err(_)) => serializer.collect_map([("base64", STANDARD.encode(bytes))]),
        }
    }
}

#[derive(Debug, Serialize)]
struct JsonHeader<'a> {
    name: JsonBytes<'a>,
    value: Option<JsonBytes<'a>>,
}

#[derive(Debug, Serialize)]
struct JsonRecord<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: i64,
    key: Option<JsonBytes<'a>>,
    value: Option<JsonBytes<'a>>,
    headers: Vec<JsonHeader<'a>>,
}

/// Writes one record as a JSON object and a line feed.
pub(crate) fn write_json(
    out: &mut impl Write,
    encodings: Encodings,
    (topic, partition): (&str, i32),
    record: &Record,
) -> io::Result<()> {
    let of_headers = encodings.header;
    let headers = record.headers.iter().map(|(name, value)| JsonHeader {
        name: JsonBytes(Encoding::Text, name),
        value: value.as_ref().map(|value| JsonBytes(of_headers, value)),
    });
    let (key, value) = (record.key.as_ref(), record.value.as_ref());
    let json = JsonRecord {
        topic,
        partition,
        offset: record.offset,
        timestamp: record.timestamp.millis(),
        key: key.map(|key| JsonBytes(encodings.key, key)),
        value: value.map(|value| JsonBytes(encodings.value, value)),
        headers: headers.collect(),
    };
    serde_json::to_writer(&mut *out, &json)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use esker_types::Timestamp;

    use super::*;

    fn record() -> Record {
        Record {
            offset: 42,
            timestamp: Timestamp::from_millis(1_700_000_000_000),
            key: Some("k1".into()),
            value: Some("héllo".into()),
            headers: vec![("a".into(), Some("1".into())), ("b".into(), None)],
        }
    }

    fn written(format: &str, record: &Record) -> Vec<u8> {
        let mut out = Vec::new();
        let format: Format = format.parse().unwrap();
        let encodings = Encodings::default();
        format
            .write(&mut out, encodings, ("orders", 3), record)
            .unwrap();
        out
    }

    fn json(encodings: Encodings, record: &Record) -> String {
        let mut out = Vec::new();
        write_json(&mut out, encodings, ("orders", 3), record).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_field_of_a_format_is_written() {
        let text = written(r"%t %p %o %T %k/%K %v/%V %h %%\t\x41\n", &record());

        let expected = "orders 3 42 1700000000000 k1/2 héllo/6 a=1,b %\tA\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn null_is_nothing_of_length_minus_one_and_bytes_pass_untouched() {
        let tombstone = Record {
            key: None,
            value: None,
            ..record()
        };
        let binary = Record {
            value: Some(Bytes::from_static(&[0xff, 0])),
            ..record()
        };

        assert_eq!(written("[%k %K %v %V]", &tombstone), b"[ -1  -1]");
        assert_eq!(written("%v", &binary), [0xff, 0]);
    }

    #[test]
    fn what_a_format_cannot_mean_is_refused() {
        for text in ["%", "%q", "ok %"] {
            assert_eq!(text.parse::<Format>(), Err(FormatError::Field), "{text}");
        }
        for text in [r"\", r"\q", r"\x4", r"\xzz"] {
            assert_eq!(text.parse::<Format>(), Err(FormatError::Escape), "{text}");
        }
    }

    #[test]
    fn the_plain_format_is_one_value_a_line() {
        assert_eq!(Ok(Format::values()), r"%v\n".parse());
    }

    #[test]
    fn json_has_text_as_text_and_bytes_as_base64() {
        let binary = Record {
            key: None,
            value: Some(Bytes::from_static(&[0xff])),
            ..record()
        };

        let text = json(Encodings::default(), &record());
        let bytes = json(Encodings::default(), &binary);

        assert_eq!(
            text,
            concat!(
                r#"{"topic":"orders","partition":3,"offset":42,"timestamp":1700000000000,"#,
                r#""key":"k1","value":"héllo","#,
                r#""headers":[{"name":"a","value":"1"},{"name":"b","value":null}]}"#,
                "\n"
            )
        );
        assert!(bytes.contains(r#""key":null,"value":{"base64":"/w=="}"#));
    }

    #[test]
    fn parts_are_written_in_the_encoding_that_was_asked_for() {
        let document = Record {
            value: Some("{ \"a\": [1,\n 2] }".into()),
            ..record()
        };
        let encodings = Encodings {
            key: Encoding::Hex,
            value: Encoding::Json,
            header: Encoding::Base64,
        };
        let format: Format = "%k %v %h".parse().unwrap();
        let mut out = Vec::new();

        let line = json(encodings, &document);
        format
            .write(&mut out, encodings, ("orders", 3), &document)
            .unwrap();

        let part = r#""key":"6b31","value":{"a":[1,2]},"headers":[{"name":"a","value":"MQ=="}"#;
        assert!(line.contains(part), "{line}");
        assert_eq!(out, br#"6b31 {"a":[1,2]} a=MQ==,b"#);
    }
}
