//! No fact is told as -1, and what may be tried again says so.

use esker_metadata_api::configs::ConfigError;
use esker_metadata_api::{TopicName, TopicNameError};

use super::*;
use crate::error::ShownText;
use crate::limits::SHOWN_CHARACTERS_MAX;

const SILENCES: [MetadataError; 5] = [
    MetadataError::Recovering,
    MetadataError::Unavailable,
    MetadataError::Unknown,
    MetadataError::Deposed,
    MetadataError::Overloaded,
];

#[test]
fn silence_of_the_metadata_service_is_retriable_in_every_api() {
    for error in SILENCES {
        let created = CreateTopicError::Metadata(error);
        for code in [
            topic(&TopicRefusal::NotAnswered(error)),
            topic(&TopicRefusal::NotCreated(created.clone())),
            creation(&CreationRefusal::NotStarted(error)),
            creation(&CreationRefusal::Refused(created)),
            deletion(DeletionRefusal::NotStarted(error)),
            deletion(DeletionRefusal::Refused(DeleteTopicError::Metadata(error))),
            configs(ConfigsRefusal::NotAnswered(error)),
            group(&GroupRefusal::NotAnswered(error)),
            producer(ProducerRefusal::NotAnswered(error)),
        ] {
            assert!(code.is_retriable(), "{error}: {code}");
        }
    }
    assert!(group(&GroupRefusal::WrongAnswer).is_retriable());
}

#[test]
fn an_unknown_outcome_is_never_told_as_one_that_surely_did_nothing() {
    let unknown = CreateTopicError::Metadata(MetadataError::Unknown);
    let deposed = DeleteTopicError::Metadata(MetadataError::Deposed);

    assert_eq!(
        creation(&CreationRefusal::Refused(unknown)),
        KafkaError::RequestTimedOut
    );
    assert_eq!(
        deletion(DeletionRefusal::Refused(deposed)),
        KafkaError::RequestTimedOut
    );
}

#[test]
fn an_idempotent_producer_is_never_sent_to_look_for_a_coordinator() {
    for error in SILENCES {
        let code = producer(ProducerRefusal::NotAnswered(error));
        assert_eq!(code, KafkaError::CoordinatorLoadInProgress);
    }
}

#[test]
fn a_topic_whose_creation_lost_a_race_is_asked_for_again() {
    let lost = TopicRefusal::NotCreated(CreateTopicError::Exists);

    assert_eq!(topic(&lost), KafkaError::LeaderNotAvailable);
}

#[test]
fn words_tell_the_whole_chain_of_causes_once() {
    let source = ConfigError::BelowMinimum { min: 1 };
    let name = "segment.ms";
    let with = TopicName::new("a_b").unwrap();
    let refused = CreationRefusal::Refused(CreateTopicError::Collides { with });

    assert_eq!(
        words(&CreationRefusal::InvalidConfig { name, source }).as_str(),
        "invalid value for configuration segment.ms: value must be at least 1"
    );
    assert_eq!(
        words(&refused).as_str(),
        "topic was not created: topic name collides with a_b"
    );
    let empty = CreationRefusal::InvalidName(TopicNameError::Empty);
    assert_eq!(
        words(&empty).as_str(),
        "topic name is not valid: topic name is empty"
    );
}

#[test]
fn foreign_text_is_cut_before_it_is_sent_back() {
    let name = ShownText::new(&"ä".repeat(SHOWN_CHARACTERS_MAX + 1));

    let words = words(&CreationRefusal::UnknownConfig { name });

    let shown = words.chars().filter(|letter| *letter == 'ä').count();
    assert_eq!(shown, SHOWN_CHARACTERS_MAX);
}
