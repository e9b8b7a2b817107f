//! What changes of settings come to: pure, the same for topics and for brokers.
//!
//! A resource changes as a whole or not at all: the first change that cannot be made refuses it.

use std::collections::BTreeSet;

use esker_kafka::messages::StrBytes;
use esker_metadata_api::Configs;
use esker_metadata_api::configs::{ConfigDefinition, ConfigKind, check_together};

use crate::error::{AlterConfigsRefusal, ShownText};

/// Kafka's numbers of operations.
pub(crate) const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// One change of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) name: StrBytes,
    pub(crate) operation: i8,
    pub(crate) value: Option<StrBytes>,
}

/// How the changes of a resource relate to what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// They are made to it.
    Present,
    /// They replace all of it (AlterConfigs).
    Nothing,
}

/// The settings that a kind of resource has.
pub(crate) trait Names {
    /// The name under which a setting is kept and what values it may have, or why it is refused.
    fn find(
        &self,
        name: &str,
    ) -> Result<(&'static str, &'static ConfigDefinition), AlterConfigsRefusal>;

    /// The name of a setting of topics as this kind of resource has it.
    fn kept(&self, definition: &'static ConfigDefinition) -> Option<&'static str>;
}

/// What can be refused without looking at the resource.
pub(crate) fn check_shape(changes: &[Change]) -> Result<(), AlterConfigsRefusal> {
    let mut names = BTreeSet::new();
    for change in changes {
        if !names.insert(&change.name) {
            return Err(AlterConfigsRefusal::RepeatedKey);
        }
        if !(SET..=SUBTRACT).contains(&change.operation) {
            let code = change.operation;
            return Err(AlterConfigsRefusal::Operation { code });
        }
        if change.value.is_none() && change.operation != DELETE {
            let name = ShownText::new(&change.name);
            return Err(AlterConfigsRefusal::NullValue { name });
        }
    }
    Ok(())
}

/// The settings of a resource as they are to be.
pub(crate) fn changed(
    present: &Configs,
    base: Base,
    changes: &[Change],
    names: &dyn Names,
) -> Result<Configs, AlterConfigsRefusal> {
    let mut configs = match base {
        Base::Present => present.clone(),
        Base::Nothing => Configs::new(),
    };
    for change in changes {
        let (name, definition) = match names.find(&change.name) {
            Ok(found) => found,
            // Nothing is taken away from what does not exist, as in Kafka.
            Err(_) if change.operation == DELETE => continue,
            Err(refusal) => return Err(refusal),
        };
        let present = configs.get(name).map(String::as_str);
        match value(name, definition, present, change)? {
            Some(value) => {
                let value = definition
                    .normalise(&value)
                    .map_err(|source| AlterConfigsRefusal::InvalidValue { name, source })?;
                configs.insert(name.to_owned(), value);
            }
            None => {
                configs.remove(name);
            }
        }
    }
    check_together(&as_topics(&configs, names)).map_err(AlterConfigsRefusal::Conflict)?;
    Ok(configs)
}

/// The settings by the names that topics have for them.
fn as_topics(configs: &Configs, names: &dyn Names) -> Configs {
    let definitions = esker_metadata_api::configs::TOPIC_CONFIGS.iter();
    let one = |definition: &'static ConfigDefinition| {
        let value = configs.get(names.kept(definition)?)?;
        Some((definition.name.to_owned(), value.clone()))
    };
    definitions.filter_map(one).collect()
}

/// What a setting is to be; `None`: the default again.
fn value(
    name: &'static str,
    definition: &'static ConfigDefinition,
    present: Option<&str>,
    change: &Change,
) -> Result<Option<String>, AlterConfigsRefusal> {
    let asked = change.value.as_deref().unwrap_or_default();
    let is_list = definition.kind == ConfigKind::List;
    if matches!(change.operation, APPEND | SUBTRACT) && !is_list {
        return Err(AlterConfigsRefusal::NotAList { name });
    }
    let present = present.unwrap_or(definition.default);
    let present = present.split(',').filter(|word| !word.is_empty());
    let asked_words = || asked.split(',').map(str::trim);
    let words: Vec<&str> = match change.operation {
        SET => return Ok(Some(asked.to_owned())),
        DELETE => return Ok(None),
        APPEND => {
            let mut words: Vec<&str> = present.collect();
            for word in asked_words() {
                if !words.contains(&word) {
                    words.push(word);
                }
            }
            words
        }
        _ => present
            .filter(|word| asked_words().all(|gone| gone != *word))
            .collect(),
    };
    Ok(Some(words.join(",")))
}
