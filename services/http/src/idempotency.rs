//! Idempotency keys: from a header to a producer id and a sequence that the log remembers.
//!
//! A key becomes a producer id of its own that writes one batch a partition; the batch's base
//! sequence is a tag of its content. The sequencer's producer rules (D1 to D5) do the rest: the
//! same again is a duplicate of a committed batch, something else is out of order. docs/http.md.

use axum::http::HeaderMap;
use esker_types::ProducerId;
use sha2::{Digest as _, Sha256};

use crate::body::bad;
use crate::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use crate::parts::NewRecord;
use crate::problem::Problem;

pub(crate) const HEADER: &str = "idempotency-key";

/// An idempotency key, as a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendKey([u8; 32]);

impl AppendKey {
    pub(crate) fn of(text: &str) -> Self {
        let hash = Sha256::new_with_prefix(b"esker idempotency key 1\0");
        Self(hash.chain_update(text.as_bytes()).finalize().into())
    }

    /// The key in a request's headers, if there is one.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let mut given = headers.get_all(HEADER).iter();
        let Some(value) = given.next() else {
            return Ok(None);
        };
        let wrong = || {
            let most = IDEMPOTENCY_KEY_BYTES_MAX;
            bad(format!(
                "header Idempotency-Key must be given once, with 1 to {most} printable characters"
            ))
        };
        let text = value.to_str().map_err(|_| wrong())?;
        // As a structured field (the IETF draft) it stands in quotes.
        let text = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
            .unwrap_or(text);
        if text.is_empty() || text.len() > IDEMPOTENCY_KEY_BYTES_MAX || given.next().is_some() {
            return Err(wrong());
        }
        Ok(Some(Self::of(text)))
    }

    /// The key of a part of a stream.
    pub(crate) fn part(&self, number: u64) -> Self {
        let hash = Sha256::new_with_prefix(b"esker idempotency part 1\0");
        let hash = hash.chain_update(self.0).chain_update(number.to_be_bytes());
        Self(hash.finalize().into())
    }

    /// The producer that the key stands for.
    #[must_use]
    pub fn producer_id(&self) -> ProducerId {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        ProducerId::from_key_hash([a, b, c, d, e, f, g, h])
    }

    /// A number that is always the same for the key: places records without a partition and a key.
    #[must_use]
    pub fn turn(&self) -> u32 {
        let [.., a, b, c, d] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }
}

/// Tells the content of a batch, as a base sequence: 31 bits of a hash of its records as they were
/// given, so that a repeat that is stamped with another time has the same tag.
#[must_use]
pub fn content_tag<'a>(records: impl Iterator<Item = &'a NewRecord>) -> i32 {
    let mut hash = Sha256::new_with_prefix(b"esker idempotency content 1\0");
    let mut bytes = |bytes: Option<&[u8]>| {
        let length = bytes.map_or(u64::MAX, |bytes| u64::try_from(bytes.len()).unwrap_or(0));
        hash.update(length.to_be_bytes());
        hash.update(bytes.unwrap_or_default());
    };
    for record in records {
        let millis = record
            .timestamp
            .map(|timestamp| timestamp.millis().to_be_bytes());
        bytes(millis.as_ref().map(|millis| &millis[..]));
        bytes(record.key.as_deref());
        bytes(record.value.as_deref());
        for header in &record.headers {
            bytes(Some(header.name.as_bytes()));
            bytes(header.value.as_deref());
        }
        bytes(None);
    }
    let [a, b, c, d, ..] = <[u8; 32]>::from(hash.finalize());
    i32::from_be_bytes([a & 0x7f, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let values = values.iter();
        let pairs = values.map(|value| (HEADER.parse().unwrap(), value.parse().unwrap()));
        pairs.collect()
    }

    fn record(key: Option<&'static str>, value: Option<&'static str>) -> NewRecord {
        NewRecord {
            partition: None,
            timestamp: None,
            key: key.map(Into::into),
            value: value.map(Into::into),
            headers: Vec::new(),
        }
    }

    #[test]
    fn a_key_is_taken_at_the_limit_and_refused_one_past_it_empty_or_twice() {
        let most = "k".repeat(IDEMPOTENCY_KEY_BYTES_MAX);

        let plain = AppendKey::from_headers(&headers(&["abc"])).unwrap();
        let quoted = AppendKey::from_headers(&headers(&["\"abc\""])).unwrap();

        assert!(plain.is_some());
        assert_eq!(plain, quoted);
        assert_eq!(AppendKey::from_headers(&headers(&[])).unwrap(), None);
        assert!(
            AppendKey::from_headers(&headers(&[&most]))
                .unwrap()
                .is_some()
        );
        for wrong in [&[""][..], &["\"\""], &["a", "b"], &[&format!("{most}k")]] {
            assert!(
                AppendKey::from_headers(&headers(wrong)).is_err(),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn ids_of_keys_are_their_own_and_never_those_that_are_given_out() {
        let (one, other) = (AppendKey::of("one"), AppendKey::of("other"));

        assert!(one.producer_id().is_keyed());
        assert_ne!(one.producer_id(), other.producer_id());
        assert_ne!(one.part(0), one.part(1));
        assert_ne!(one.part(0), one);
        // Part of the stored log: a change would make keys of older versions forgotten.
        assert_eq!(one.producer_id().to_wire(), 0);
    }

    #[test]
    fn the_tag_tells_contents_apart_and_never_is_negative() {
        let contents = [
            vec![record(None, None)],
            vec![record(Some(""), None)],
            vec![record(None, Some(""))],
            vec![record(Some("a"), Some("b"))],
            vec![record(Some("ab"), Some(""))],
            vec![record(None, None), record(None, None)],
        ];
        let tags: Vec<i32> = contents
            .iter()
            .map(|content| content_tag(content.iter()))
            .collect();

        for (place, tag) in tags.iter().enumerate() {
            assert!(*tag >= 0);
            assert!(!tags[..place].contains(tag), "{tags:?}");
        }
    }
}
