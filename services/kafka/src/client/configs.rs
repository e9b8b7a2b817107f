//! Configs of topics and brokers: describe, alter one by one.
//!
//! A broker's configs are asked of that broker; everything else of any, changes of the controller.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::{ApiKey, DescribeConfigsRequest, IncrementalAlterConfigsRequest};

use super::error::check;
use super::topics::text;
use super::{Client, ClientError, Target};

/// What has configs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigResource<'a> {
    /// A topic, by its name.
    Topic(&'a str),
    /// A broker, by its node id; `None` is the default of all brokers.
    Broker(Option<i32>),
}

/// What becomes of one config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigChange<'a> {
    /// It gets this value.
    Set(&'a str),
    /// It goes back to its default.
    Delete,
    /// A list gets one more value.
    Append(&'a str),
    /// A list loses a value.
    Subtract(&'a str),
}

/// Whether a change is made, or only checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The broker says whether it would make the change.
    Validate,
    /// The change is made.
    Apply,
}

impl ConfigResource<'_> {
    fn to_wire(self) -> (i8, String) {
        match self {
            Self::Topic(name) => (2, name.to_owned()),
            Self::Broker(node) => (4, node.map(|node| node.to_string()).unwrap_or_default()),
        }
    }

    /// Only a broker itself knows its configs, and takes changes of them.
    fn target(self, otherwise: Target) -> Target {
        match self {
            Self::Broker(Some(node)) => Target::Node(node),
            Self::Broker(None) | Self::Topic(_) => otherwise,
        }
    }
}

impl<'a> ConfigChange<'a> {
    fn to_wire(self) -> (i8, Option<&'a str>) {
        match self {
            Self::Set(value) => (0, Some(value)),
            Self::Delete => (1, None),
            Self::Append(value) => (2, Some(value)),
            Self::Subtract(value) => (3, Some(value)),
        }
    }
}

impl Client {
    /// All configs of a topic or broker, with their origins.
    ///
    /// # Errors
    /// [`ClientError::Kafka`] with the resource's error, or as [`Self::request_at_most`].
    pub async fn describe_configs(
        &self,
        resource: ConfigResource<'_>,
    ) -> Result<Vec<DescribeConfigsResourceResult>, ClientError> {
        let api = ApiKey::DescribeConfigs;
        let (kind, name) = resource.to_wire();
        let wanted = DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(&name))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default().with_resources(vec![wanted]);
        self.retrying(None, ClientError::is_retriable, || async {
            let asked = self.request(resource.target(Target::Any), &request).await;
            let result = asked?.results.into_iter().next();
            let result = result.ok_or(ClientError::Incomplete { api })?;
            check(api, result.error_code, result.error_message.as_ref())?;
            Ok(result.configs)
        })
        .await
    }

    /// Changes some configs of a topic or broker and leaves the others (IncrementalAlterConfigs,
    /// since Kafka 2.3). All of them, or none.
    ///
    /// # Errors
    /// [`ClientError::Unsupported`] by an older broker; [`ClientError::Kafka`] with the resource's
    /// refusal; [`ClientError::Closed`] and [`ClientError::NoAnswer`] leave it unknown whether they
    /// were changed. Else as [`Self::request_at_most`].
    pub async fn alter_configs(
        &self,
        resource: ConfigResource<'_>,
        changes: &[(&str, ConfigChange<'_>)],
        effect: Effect,
    ) -> Result<(), ClientError> {
        let api = ApiKey::IncrementalAlterConfigs;
        let (kind, name) = resource.to_wire();
        let one = |(name, change): &(&str, ConfigChange<'_>)| {
            let (operation, value) = change.to_wire();
            AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(operation)
                .with_value(value.map(text))
        };
        let altered = AlterConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(&name))
            .with_configs(changes.iter().map(one).collect());
        let request = IncrementalAlterConfigsRequest::default()
            .with_resources(vec![altered])
            .with_validate_only(effect == Effect::Validate);
        self.retrying(None, ClientError::is_surely_undone, || async {
            let controller = self.with_cluster(|cluster| cluster.controller());
            let asked = self.request(resource.target(controller), &request).await;
            let response = asked?.responses.into_iter().next();
            let response = response.ok_or(ClientError::Incomplete { api })?;
            check(api, response.error_code, response.error_message.as_ref())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_and_changes_are_on_the_wire_as_kafka_has_them() {
        let wire = [
            ConfigResource::Topic("orders").to_wire(),
            ConfigResource::Broker(Some(3)).to_wire(),
            ConfigResource::Broker(None).to_wire(),
        ];
        let changes = [
            ConfigChange::Set("1").to_wire(),
            ConfigChange::Delete.to_wire(),
            ConfigChange::Append("2").to_wire(),
            ConfigChange::Subtract("3").to_wire(),
        ];

        assert_eq!(
            wire,
            [
                (2, "orders".to_owned()),
                (4, "3".to_owned()),
                (4, String::new())
            ]
        );
        assert_eq!(
            changes,
            [(0, Some("1")), (1, None), (2, Some("2")), (3, Some("3"))]
        );
    }

    #[test]
    fn a_brokers_configs_are_asked_of_that_broker() {
        let own = ConfigResource::Broker(Some(3)).target(Target::Any);
        let all = ConfigResource::Broker(None).target(Target::Node(1));
        let topic = ConfigResource::Topic("t").target(Target::Any);

        assert_eq!(own, Target::Node(3));
        assert_eq!(all, Target::Node(1));
        assert_eq!(topic, Target::Any);
    }
}
