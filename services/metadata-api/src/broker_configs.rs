//! Settings that brokers were given while they run: those of all brokers, and those of each.
//!
//! Kept under Kafka's names of brokers' settings. What is dynamic are the defaults of all topics
//! ([`crate::configs::broker_config`]): a topic that sets nothing itself has what the broker that
//! serves it was given, else what all brokers were given.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::MetadataError;
use crate::configs::broker_config;
use crate::limits::BROKERS_CONFIGURED_MAX;

/// Settings by name.
pub type Configs = BTreeMap<String, String>;

/// Whose settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BrokerScope {
    /// All brokers'.
    All,
    /// One broker's, by its node id; they beat those of all.
    Node(i32),
}

/// All settings of all scopes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerConfigs(BTreeMap<BrokerScope, Configs>);

/// A change of the settings of one scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterBroker {
    /// Whose.
    pub scope: BrokerScope,
    /// What the front saw: of two changes at once one is told that it came too late.
    pub expected: Configs,
    /// What shall be, checked by the front.
    pub configs: Configs,
}

/// Why no setting was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlterBrokerError {
    /// The settings are not those that were expected: look again.
    #[error("settings were changed meanwhile")]
    Changed,
    /// As many brokers as allowed have settings of their own.
    #[error("{BROKERS_CONFIGURED_MAX} brokers have settings of their own, no further one can")]
    TooManyBrokers,
    /// No answer; `Unknown` means that they may be changed.
    #[error("change of the broker's settings was not answered")]
    Metadata(#[source] MetadataError),
}

impl BrokerConfigs {
    /// Those of one scope; none set is as good as no such scope.
    #[must_use]
    pub fn of(&self, scope: BrokerScope) -> Configs {
        self.0.get(&scope).cloned().unwrap_or_default()
    }

    /// What `node` was given, by itself or with all; and by whom.
    #[must_use]
    pub fn value(&self, node: i32, name: &str) -> Option<(BrokerScope, &str)> {
        let scopes = [BrokerScope::Node(node), BrokerScope::All];
        scopes.into_iter().find_map(|scope| {
            let value = self.in_scope(scope, name)?;
            Some((scope, value))
        })
    }

    /// What one scope was given.
    #[must_use]
    pub fn in_scope(&self, scope: BrokerScope, name: &str) -> Option<&str> {
        self.0.get(&scope)?.get(name).map(String::as_str)
    }

    /// Every scope that has settings.
    pub fn iter(&self) -> impl Iterator<Item = (BrokerScope, &Configs)> {
        self.0.iter().map(|(scope, configs)| (*scope, configs))
    }

    /// Whether `change` could be made now.
    ///
    /// # Errors
    /// [`AlterBrokerError::Changed`], [`AlterBrokerError::TooManyBrokers`].
    pub fn check(&self, change: &AlterBroker) -> Result<(), AlterBrokerError> {
        let present = self.0.get(&change.scope);
        if present.unwrap_or(&Configs::new()) != &change.expected {
            return Err(AlterBrokerError::Changed);
        }
        if present.is_none() && self.0.len() > BROKERS_CONFIGURED_MAX {
            return Err(AlterBrokerError::TooManyBrokers);
        }
        Ok(())
    }

    /// Replaces the settings of one scope.
    pub fn set(&mut self, scope: BrokerScope, configs: Configs) {
        if configs.is_empty() {
            self.0.remove(&scope);
        } else {
            self.0.insert(scope, configs);
        }
    }

    /// What topics that set nothing themselves have on `node`, by the names of topics' settings.
    #[must_use]
    pub fn topic_defaults(&self, node: i32) -> Arc<Configs> {
        let mut defaults = Configs::new();
        for scope in [BrokerScope::All, BrokerScope::Node(node)] {
            for (name, value) in self.0.get(&scope).into_iter().flatten() {
                if let Some(definition) = broker_config(name) {
                    defaults.insert(definition.name.to_owned(), value.clone());
                }
            }
        }
        Arc::new(defaults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs(rows: &[(&str, &str)]) -> Configs {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        rows.iter().map(own).collect()
    }

    #[test]
    fn a_brokers_own_setting_beats_that_of_all() {
        let mut all = BrokerConfigs::default();
        let shared = [("log.retention.ms", "1"), ("message.max.bytes", "2")];
        all.set(BrokerScope::All, configs(&shared));
        all.set(BrokerScope::Node(7), configs(&[("log.retention.ms", "3")]));

        let own = all.value(7, "log.retention.ms");
        let other = all.value(8, "log.retention.ms");

        assert_eq!(own, Some((BrokerScope::Node(7), "3")));
        assert_eq!(other, Some((BrokerScope::All, "1")));
        let topics = [("retention.ms", "3"), ("max.message.bytes", "2")];
        assert_eq!(*all.topic_defaults(7), configs(&topics));
    }

    #[test]
    fn one_broker_more_than_allowed_gets_no_settings_of_its_own() {
        let mut all = BrokerConfigs::default();
        let some = configs(&[("log.retention.ms", "1")]);
        all.set(BrokerScope::All, some.clone());
        let change = |node: usize| AlterBroker {
            scope: BrokerScope::Node(i32::try_from(node).unwrap()),
            expected: Configs::new(),
            configs: some.clone(),
        };
        for node in 0..BROKERS_CONFIGURED_MAX {
            assert_eq!(all.check(&change(node)), Ok(()));
            all.set(change(node).scope, some.clone());
        }

        let beyond = all.check(&change(BROKERS_CONFIGURED_MAX));
        let late = all.check(&change(0));
        all.set(change(0).scope, Configs::new());
        let again = all.check(&change(BROKERS_CONFIGURED_MAX));

        assert_eq!(beyond, Err(AlterBrokerError::TooManyBrokers));
        assert_eq!(late, Err(AlterBrokerError::Changed));
        assert_eq!(again, Ok(()));
    }
}
