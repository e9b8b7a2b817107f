//! Check 13: Kafka's error codes are chosen in each `reply.rs`, by matches without a wildcard.
//! `services/kafka` defines them; the command line in `services/esker` reads them, as a client.

use crate::finding::Finding;
use crate::tree::Tree;

const RULE: &str = "kafka-errors";
const FREE: &[&str] = &["services/kafka/", "services/esker/"];

pub(super) fn kafka_errors(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in tree.product() {
        let is_reply = source.path.ends_with("/reply.rs") || source.path.contains("/reply/");
        let reads = FREE.iter().any(|place| source.path.starts_with(place));
        let (part, message) = match (is_reply, reads) {
            (true, _) => ("_ =>", "a wildcard arm: a new fact must be decided here"),
            (_, true) => continue,
            _ => ("KafkaError::", "Kafka's error codes belong to reply.rs"),
        };
        for at in source.find_production(part) {
            found.push(Finding::new(RULE, &source.path, source.line(at), message));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::kafka_errors;
    use crate::checks::{fires, passes};

    #[test]
    fn codes_are_chosen_in_reply_and_in_tests() {
        let code = "let code = KafkaError::None;";

        passes(kafka_errors, &[("services/x/src/reply.rs", code)]);
        passes(kafka_errors, &[("services/kafka/src/client.rs", code)]);
        passes(kafka_errors, &[("services/x/tests/a.rs", code)]);
        fires(
            kafka_errors,
            &[("services/x/src/admit.rs", code)],
            "reply.rs",
        );
    }

    #[test]
    fn a_reply_decides_every_case() {
        let exhaustive = "match a { Some(_) => 1, None => 2 }";
        let wildcard = "match a { Some(b) => 1, _ => 2 }";

        passes(kafka_errors, &[("services/x/src/reply.rs", exhaustive)]);
        fires(
            kafka_errors,
            &[("services/x/src/reply.rs", wildcard)],
            "wildcard",
        );
    }
}
