//! Records out of lines: plain lines, or JSON objects as `esker consume -o json` writes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::ValueEnum;
use esker_record::NewRecord;
use esker_types::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::ProduceCommand;
use crate::cli::exit::{Cause, Failure};
use crate::cli::format::{Encoding, Encodings};

/// What a line of the input is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum InputKind {
    /// A value, with its key before a separator if there is one
    #[default]
    Lines,
    /// A JSON object with key, value, headers and timestamp, as `esker consume -o json` writes it;
    /// topic, partition and offset are not looked at
    Json,
}

/// Makes lines records.
#[derive(Clone, Debug)]
pub(super) struct RecordMaker {
    input: InputKind,
    encodings: Encodings,
    key: Option<Bytes>,
    separator: Option<Vec<u8>>,
    headers: Vec<(Bytes, Option<Bytes>)>,
    lines: u64,
}

/// A record of JSON. Whatever else is there is not looked at.
#[derive(Debug, Deserialize)]
struct JsonRecord<'a> {
    timestamp: Option<i64>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    headers: Vec<JsonHeader<'a>>,
}

#[derive(Debug, Deserialize)]
struct JsonHeader<'a> {
    name: String,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

/// What bytes look like in JSON, unless they are a JSON document themselves.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum JsonText {
    Text(String),
    Bytes { base64: String },
}

impl RecordMaker {
    pub(super) fn new(command: &ProduceCommand) -> Result<Self, Failure> {
        let encodings = command.encodings;
        if command.input == InputKind::Json && command.key_separator.is_some() {
            let wanted = "a JSON object has its own key: --key-separator is for lines";
            return Err(Failure::new("read the input", Cause::Wanted { wanted }));
        }
        let given = |encoding: Encoding, what: &str, text: &str| {
            let read = encoding.read(Bytes::from(text.to_owned()));
            read.map_err(|wanted| {
                Failure::new(format!("read {what} {text:?}"), Cause::Wanted { wanted })
            })
        };
        let key = command.key.as_deref();
        let key = key.map(|key| given(encodings.key, "the key", key));
        let headers = command.headers.iter().map(|(name, value)| {
            let value = given(encodings.header, "the header", value)?;
            Ok((Bytes::from(name.clone()), Some(value)))
        });
        let separator = command.key_separator.clone();
        Ok(Self {
            input: command.input,
            encodings,
            key: key.transpose()?,
            separator: separator.map(String::into_bytes),
            headers: headers.collect::<Result<_, Failure>>()?,
            lines: 0,
        })
    }

    pub(super) fn make(&mut self, line: Bytes, now: Timestamp) -> Result<NewRecord, Failure> {
        self.lines = self.lines.saturating_add(1);
        let number = self.lines;
        let made = match self.input {
            InputKind::Lines => self.of_line(line, now),
            InputKind::Json => self.of_json(&line, now),
        };
        made.map_err(|wanted| Failure::new("read the input", Cause::BadLine { number, wanted }))
    }

    fn of_line(&self, line: Bytes, timestamp: Timestamp) -> Result<NewRecord, &'static str> {
        let (key, value) = match &self.separator {
            Some(separator) => {
                let (key, value) = split_key(line, separator);
                let key = key.map(|key| self.encodings.key.read(key));
                (key.transpose()?, value)
            }
            None => (self.key.clone(), line),
        };
        Ok(NewRecord {
            timestamp,
            key,
            value: Some(self.encodings.value.read(value)?),
            headers: self.headers.clone(),
        })
    }

    fn of_json(&self, line: &[u8], now: Timestamp) -> Result<NewRecord, &'static str> {
        let record: JsonRecord<'_> = serde_json::from_slice(line).map_err(
            |_| "a JSON object with key, value, headers [{name, value}] and timestamp is wanted",
        )?;
        let mut headers = self.headers.clone();
        for header in record.headers {
            let value = of_value(self.encodings.header, header.value)?;
            headers.push((Bytes::from(header.name), value));
        }
        let key = of_value(self.encodings.key, record.key)?;
        Ok(NewRecord {
            timestamp: record.timestamp.map_or(now, Timestamp::from_millis),
            key: key.or_else(|| self.key.clone()),
            value: of_value(self.encodings.value, record.value)?,
            headers,
        })
    }
}

/// The bytes of a JSON value; `None` for null.
fn of_value(encoding: Encoding, value: Option<&RawValue>) -> Result<Option<Bytes>, &'static str> {
    let Some(value) = value.filter(|value| value.get() != "null") else {
        return Ok(None);
    };
    if encoding == Encoding::Json {
        return Ok(Some(Bytes::from(value.get().to_owned())));
    }
    let text = serde_json::from_str(value.get());
    let text = text.map_err(|_| "a text, null or {\"base64\": …} is wanted")?;
    match text {
        JsonText::Text(text) => encoding.read(Bytes::from(text)).map(Some),
        JsonText::Bytes { base64 } => {
            let bytes = STANDARD.decode(base64).map_err(|_| "base64 is wanted")?;
            Ok(Some(Bytes::from(bytes)))
        }
    }
}

/// Key and value on both sides of the first separator.
fn split_key(line: Bytes, separator: &[u8]) -> (Option<Bytes>, Bytes) {
    let mut windows = line.windows(separator.len().max(1));
    match windows.position(|window| window == separator) {
        Some(at) => (
            Some(line.slice(..at)),
            line.slice(at.saturating_add(separator.len())..),
        ),
        None => (None, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maker(input: InputKind, encodings: Encodings) -> RecordMaker {
        RecordMaker {
            input,
            encodings,
            key: Some("k".into()),
            separator: None,
            headers: vec![("a".into(), Some("1".into()))],
            lines: 0,
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_millis(5)
    }

    #[test]
    fn the_first_separator_ends_the_key() {
        let split = |line: &'static str| split_key(Bytes::from_static(line.as_bytes()), b"::");

        assert_eq!(split("a::b::c"), (Some("a".into()), "b::c".into()));
        assert_eq!(split("::b"), (Some("".into()), "b".into()));
        assert_eq!(split("a:b"), (None, "a:b".into()));
        assert_eq!(split(""), (None, "".into()));
    }

    #[test]
    fn records_carry_the_common_key_headers_and_time() {
        let mut maker = maker(InputKind::Lines, Encodings::default());

        let record = maker.make("v".into(), now()).unwrap();

        assert_eq!(record.key, Some("k".into()));
        assert_eq!(record.value, Some("v".into()));
        assert_eq!(record.headers, [("a".into(), Some("1".into()))]);
        assert_eq!(record.timestamp.millis(), 5);
    }

    #[test]
    fn json_lines_have_their_own_key_headers_and_time() {
        let mut maker = maker(InputKind::Json, Encodings::default());
        let line = r#"{"topic":"t","offset":9,"timestamp":7,"key":"x","value":{"base64":"/w=="},
            "headers":[{"name":"b","value":null}]}"#;

        let record = maker.make(line.into(), now()).unwrap();
        let tombstone = maker.make(r#"{"value":null}"#.into(), now()).unwrap();

        assert_eq!(record.key, Some("x".into()));
        assert_eq!(record.value, Some(Bytes::from_static(&[0xff])));
        assert_eq!(
            record.headers,
            [("a".into(), Some("1".into())), ("b".into(), None)]
        );
        assert_eq!(record.timestamp.millis(), 7);
        assert_eq!((tombstone.key, tombstone.value), (Some("k".into()), None));
    }

    #[test]
    fn a_line_that_is_not_what_was_announced_is_told_by_its_number() {
        let mut json = maker(InputKind::Json, Encodings::default());
        let hex = Encodings {
            value: Encoding::Hex,
            ..Encodings::default()
        };
        let mut hex = maker(InputKind::Lines, hex);

        let first = json.make("{}".into(), now());
        let second = json.make("plain".into(), now());
        let number = json.make(r#"{"value":5}"#.into(), now());
        let digits = hex.make("xy".into(), now());

        assert!(first.is_ok());
        assert!(second.unwrap_err().to_string().contains("line 2"));
        assert!(number.unwrap_err().to_string().contains("a text, null"));
        assert!(digits.unwrap_err().to_string().contains("hexadecimal"));
    }
}
