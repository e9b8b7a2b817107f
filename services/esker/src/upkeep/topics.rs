//! Topics by id, as `esker verify -o json` wrote them down: what `--topics` reads.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use esker_metadata_api::{Topic, TopicName};
use esker_types::TopicId;
use serde::Deserialize;

/// Bytes of such a file: ten thousand topics with their settings fit.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[derive(Debug, Deserialize)]
struct GivenTopic {
    id: String,
    name: String,
    partitions: u32,
    #[serde(default = "one")]
    replication_factor: u16,
    #[serde(default)]
    configs: BTreeMap<String, String>,
}

fn one() -> u16 {
    1
}

/// A report of `esker verify`, or its list of topics alone.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Given {
    Report { topics: Vec<GivenTopic> },
    Topics(Vec<GivenTopic>),
}

fn topic_of(given: GivenTopic) -> anyhow::Result<Topic> {
    let name = given.name;
    let what = || format!("topic {name:?}");
    Ok(Topic {
        id: TopicId::from_hex(&given.id).with_context(what)?,
        name: TopicName::new(&name).with_context(what)?,
        partition_count: NonZeroU32::new(given.partitions)
            .context("a topic has a partition")
            .with_context(what)?,
        replication_factor: given.replication_factor,
        configs: given.configs,
        defaults: Arc::default(),
    })
}

/// Reads the file.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Topic>> {
    let bytes = std::fs::metadata(path)?.len();
    anyhow::ensure!(
        bytes <= FILE_BYTES_MAX,
        "it has {bytes} bytes, at most {FILE_BYTES_MAX} are read"
    );
    parse(&std::fs::read_to_string(path)?)
}

fn parse(text: &str) -> anyhow::Result<Vec<Topic>> {
    let given = serde_json::from_str(text);
    let given = given.context("a report of esker verify -o json is wanted, or its topics")?;
    let topics = match given {
        Given::Report { topics } | Given::Topics(topics) => topics,
    };
    topics.into_iter().map(topic_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upkeep::report::TopicLine;

    #[test]
    fn what_verify_writes_is_read_back_and_anything_else_is_told() {
        let topic = Topic {
            id: TopicId::from_bytes([7; 16]),
            name: TopicName::new("orders").unwrap(),
            partition_count: NonZeroU32::new(3).unwrap(),
            replication_factor: 2,
            configs: BTreeMap::from([("retention.ms".to_owned(), "1".to_owned())]),
            defaults: Arc::default(),
        };
        let line = serde_json::to_value(TopicLine::of(&topic)).unwrap();

        let alone = parse(&serde_json::json!([line]).to_string()).unwrap();
        let report = parse(&serde_json::json!({"format": 1, "topics": [line]}).to_string());
        let name = r#"[{"id":"07070707070707070707070707070707","name":"a/b","partitions":1}]"#;
        let none = r#"[{"id":"07070707070707070707070707070707","name":"a","partitions":0}]"#;

        assert_eq!(alone, std::slice::from_ref(&topic));
        assert_eq!(report.unwrap(), [topic]);
        assert!(format!("{:#}", parse(name).unwrap_err()).contains("a/b"));
        assert!(format!("{:#}", parse(none).unwrap_err()).contains("partition"));
        assert!(parse("{}").is_err());
        let large = std::env::temp_dir().join("esker-no-such-file.json");
        assert!(read(&large).is_err());
    }
}
