//! Bytes in JSON: text where it is UTF-8, `{"base64": "…"}` where it is not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// A key, value or header value as clients write and read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Value {
    /// UTF-8 text.
    Text(String),
    /// Any bytes.
    Binary(Base64),
}

/// Any bytes, in base64 (RFC 4648, with padding).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Base64 {
    #[schema(format = Byte, pattern = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$")]
    base64: String,
}

/// Says what is wanted, which an untagged enum does not.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Wanted;
        impl<'de> Visitor<'de> for Wanted {
            type Value = Value;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("text or {\"base64\": \"…\"}")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(text.to_owned()))
            }

            fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Value, E> {
                Ok(Value::Text(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
                Base64::deserialize(MapAccessDeserializer::new(map)).map(Value::Binary)
            }
        }
        deserializer.deserialize_any(Wanted)
    }
}

/// How bytes are written into an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Text where the bytes are UTF-8.
    #[default]
    Auto,
    /// Always base64.
    Base64,
}

/// A text that says it is base64 and is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("base64 is not valid")]
pub(crate) struct BadBase64;

impl Value {
    pub(crate) fn into_bytes(self) -> Result<Bytes, BadBase64> {
        match self {
            Self::Text(text) => Ok(Bytes::from(text)),
            Self::Binary(Base64 { base64 }) => STANDARD
                .decode(base64)
                .map(Bytes::from)
                .map_err(|_| BadBase64),
        }
    }

    pub(crate) fn from_bytes(bytes: &Bytes, encoding: Encoding) -> Self {
        match (encoding, std::str::from_utf8(bytes)) {
            (Encoding::Auto, Ok(text)) => Self::Text(text.to_owned()),
            (Encoding::Auto, Err(_)) | (Encoding::Base64, _) => Self::Binary(Base64 {
                base64: STANDARD.encode(bytes),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_travel_as_base64_and_come_back_the_same() {
        for bytes in [&b"plain"[..], &[0xff, 0xfe], b"", "\u{e9}\u{0}".as_bytes()] {
            let bytes = Bytes::copy_from_slice(bytes);
            for encoding in [Encoding::Auto, Encoding::Base64] {
                let json = serde_json::to_string(&Value::from_bytes(&bytes, encoding)).unwrap();
                let back: Value = serde_json::from_str(&json).unwrap();

                assert_eq!(back.into_bytes(), Ok(bytes.clone()), "{json}");
            }
        }
    }

    #[test]
    fn what_says_it_is_base64_and_is_not_is_refused() {
        let value: Value = serde_json::from_str(r#"{"base64":"***"}"#).unwrap();

        assert_eq!(value.into_bytes(), Err(BadBase64));
        assert!(serde_json::from_str::<Value>(r#"{"base64":"","x":1}"#).is_err());
        assert!(serde_json::from_str::<Value>("5").is_err());
    }
}
