//! Which topics a group of consumers reads, as far as its members' metadata says.
//!
//! The only place that looks inside metadata, and only for protocol type `consumer`: Kafka's
//! ConsumerProtocolSubscription begins with a version and a list of topics in all its versions.
//! What cannot be read counts as "reads everything", so that nothing is forgotten by mistake.

use std::collections::BTreeSet;

use esker_types::ByteReader;

use crate::group::Group;

/// Protocol type of the groups that say what they read.
const CONSUMER: &str = "consumer";

/// Topics by name; `None`: not known, so all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription(Option<BTreeSet<String>>);

impl Subscription {
    /// Of a group without members.
    pub(crate) fn nothing() -> Self {
        Self(Some(BTreeSet::new()))
    }

    pub(crate) fn has(&self, topic: &str) -> bool {
        self.0.as_ref().is_none_or(|topics| topics.contains(topic))
    }
}

impl Group {
    pub(crate) fn is_of_consumers(&self) -> bool {
        self.protocol_type == CONSUMER
    }

    /// What all members together read.
    pub(crate) fn subscription(&self) -> Subscription {
        let Some(protocol) = self.protocol.as_deref() else {
            return Subscription(None);
        };
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            match topics_of(&member.metadata(protocol)) {
                Some(read) => topics.extend(read),
                None => return Subscription(None),
            }
        }
        Subscription(Some(topics))
    }
}

/// The topics in one member's metadata; memory is bounded by its bytes.
fn topics_of(metadata: &[u8]) -> Option<Vec<String>> {
    let mut from = ByteReader::new(metadata);
    let version = i16::from_be_bytes(from.array().ok()?);
    if version < 0 {
        return None;
    }
    let count = from.count_u32(2).ok()?;
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        let length = from.u16().ok()?;
        let text = std::str::from_utf8(from.take(usize::from(length)).ok()?).ok()?;
        topics.push(text.to_owned());
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(topics: &[&str]) -> Vec<u8> {
        let mut bytes = vec![0, 1];
        bytes.extend(u32::try_from(topics.len()).unwrap().to_be_bytes());
        for topic in topics {
            bytes.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
            bytes.extend(topic.as_bytes());
        }
        bytes.extend([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn topics_are_read_and_what_follows_them_is_not_looked_at() {
        assert_eq!(topics_of(&subscription(&["a", "b"])).unwrap(), ["a", "b"]);
        assert_eq!(topics_of(&subscription(&[])).unwrap(), [""; 0]);
    }

    #[test]
    fn bytes_that_are_no_subscription_say_nothing() {
        let mut hostile = subscription(&["a"]);
        hostile[2..6].copy_from_slice(&u32::MAX.to_be_bytes());
        let mut negative = subscription(&["a"]);
        negative[0] = 0xff;
        let mut text = subscription(&["a"]);
        text[8] = 0xff;

        for bytes in [
            &hostile[..],
            &negative,
            &text,
            b"",
            b"m",
            &[0, 1, 0, 0, 0, 1, 0, 9],
        ] {
            assert_eq!(topics_of(bytes), None, "{bytes:?}");
        }
        assert!(Subscription(None).has("anything"));
        assert!(!Subscription::nothing().has("anything"));
    }
}
