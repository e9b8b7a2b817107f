//! I17 as `truth.rs` has the log: what is durable of a group's generations, and what members were
//! told of each.
//!
//! No generation is taken twice, none is told before it is durable, and each has one leader, one
//! protocol and one membership, whoever tells it.

use std::collections::BTreeMap;

use esker_groups::GroupCommand;
use esker_metadata_api::JoinedGroup;

/// What was told of one generation.
#[derive(Debug)]
struct Told {
    leader: String,
    protocol: String,
    /// As its leader heard it.
    members: Option<Vec<String>>,
}

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Generations {
    taken: BTreeMap<String, i32>,
    told: BTreeMap<(String, i32), Told>,
}

impl Generations {
    /// A command is durable; what is wrong with it.
    pub(crate) fn durable(&mut self, command: &GroupCommand) -> Option<String> {
        let (group, generation, is_new) = match command {
            GroupCommand::GenerationTaken {
                group, generation, ..
            } => (group, generation.to_wire(), true),
            // Its own rebalance may have taken it.
            GroupCommand::Emptied {
                group, generation, ..
            } => (group, generation.to_wire(), false),
            _ => return None,
        };
        let taken = self.taken.entry(group.clone()).or_default();
        let before = std::mem::replace(taken, generation);
        let rises = generation > before || (!is_new && generation == before);
        (!rises).then(|| format!("generation {generation} of {group} was taken behind {before}"))
    }

    /// A member is told its generation; what is wrong with that.
    pub(crate) fn told(&mut self, group: &str, joined: &JoinedGroup) -> Option<String> {
        let generation = joined.generation;
        let taken = self.taken.get(group).copied().unwrap_or(0);
        if generation > taken {
            return Some(format!(
                "generation {generation} was told, durable is {taken}"
            ));
        }
        let is_leader = joined.member == joined.leader;
        let members = joined.members.iter().map(|one| one.member.clone());
        let members: Option<Vec<String>> = is_leader.then(|| members.collect());
        let key = (group.to_owned(), generation);
        let known = self.told.entry(key).or_insert_with(|| Told {
            leader: joined.leader.clone(),
            protocol: joined.protocol.clone(),
            members: members.clone(),
        });
        if known.members.is_none() {
            known.members.clone_from(&members);
        }
        let is_same = known.leader == joined.leader
            && known.protocol == joined.protocol
            && (members.is_none() || known.members == members);
        (!is_same).then(|| format!("generation {generation} was {known:?}, now is {joined:?}"))
    }
}

#[cfg(test)]
mod tests {
    use esker_groups::Generation;
    use esker_metadata_api::JoinedMember;
    use esker_types::Timestamp;

    use super::*;

    fn taken(generation: i32) -> GroupCommand {
        GroupCommand::GenerationTaken {
            group: "g".to_owned(),
            at: Timestamp::from_millis(0),
            generation: Generation::from_wire(generation).unwrap(),
        }
    }

    fn joined(generation: i32, member: &str, members: &[&str]) -> JoinedGroup {
        let members = members.iter().map(|member| JoinedMember {
            member: (*member).to_owned(),
            instance: None,
            metadata: bytes::Bytes::new(),
        });
        JoinedGroup {
            generation,
            protocol_type: "consumer".to_owned(),
            protocol: "range".to_owned(),
            leader: "a".to_owned(),
            member: member.to_owned(),
            members: members.collect(),
            skip_assignment: false,
        }
    }

    #[test]
    fn a_generation_taken_twice_is_wrong() {
        let mut generations = Generations::default();

        assert_eq!(generations.durable(&taken(1)), None);
        assert_eq!(generations.durable(&taken(2)), None);

        assert!(generations.durable(&taken(2)).is_some());
    }

    #[test]
    fn a_generation_told_before_it_is_durable_is_wrong() {
        let mut generations = Generations::default();
        let _ = generations.durable(&taken(1));

        assert_eq!(generations.told("g", &joined(1, "a", &["a"])), None);
        assert!(generations.told("g", &joined(2, "a", &["a"])).is_some());
    }

    #[test]
    fn a_generation_has_one_leader_and_one_membership() {
        let mut generations = Generations::default();
        let _ = generations.durable(&taken(1));
        assert_eq!(generations.told("g", &joined(1, "b", &[])), None);
        assert_eq!(generations.told("g", &joined(1, "a", &["a", "b"])), None);
        assert_eq!(generations.told("g", &joined(1, "a", &["a", "b"])), None);

        let fewer = generations.told("g", &joined(1, "a", &["a"]));
        let mut other = joined(1, "b", &[]);
        other.leader = "b".to_owned();

        assert!(fewer.is_some());
        assert!(generations.told("g", &other).is_some());
    }
}
