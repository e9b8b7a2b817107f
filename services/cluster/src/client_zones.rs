//! Which zone a client is in: what it says itself, else the network that it comes from.
//!
//! Called by the Kafka front for each request that asks where something is. A zone without a
//! process is as none: there is nobody to send the client to.

use std::net::IpAddr;
use std::sync::Arc;

use esker_metadata_api::PodTable;

use crate::membership::Membership;
use crate::zone_map::ZoneMap;

/// What a client id says of the zone of its client, as in `app,zone=eu-1a`.
const ZONE_KEY: &str = "zone=";

/// Tells zones of clients. Clones share the membership.
#[derive(Clone, Debug)]
pub struct ClientZones {
    membership: Membership,
    map: Arc<ZoneMap>,
}

/// What stands between `zone=` and the next comma.
fn named_in(client_id: &str) -> Option<&str> {
    let mut parts = client_id.split(',').map(str::trim);
    let zone = parts.find_map(|part| part.strip_prefix(ZONE_KEY))?;
    (!zone.is_empty()).then_some(zone)
}

/// The longest zone of a process that `text` begins with: Kafka Streams and MirrorMaker append
/// words of their own to the client id that they are given.
fn known<'a>(table: &PodTable, text: &'a str) -> Option<&'a str> {
    let zones = table.pods.values().filter_map(|pod| pod.zone.as_deref());
    let begins = zones.filter(|zone| text.starts_with(*zone));
    let longest = begins.map(str::len).max()?;
    text.get(..longest)
}

impl ClientZones {
    /// Among the processes of `membership`.
    #[must_use]
    pub fn new(membership: Membership, map: Arc<ZoneMap>) -> Self {
        Self { membership, map }
    }

    /// The zone that `client_id` names, else that of the network of `address`. A rack that the
    /// client sends in its request goes before both, and is not asked for here.
    #[must_use]
    pub fn of(&self, client_id: Option<&str>, address: IpAddr) -> Option<String> {
        let named = client_id.and_then(named_in);
        let mapped = || self.map.zone_of(address);
        // Most clients say nothing and no map is set: no table is looked at.
        if named.is_none() && mapped().is_none() {
            return None;
        }
        let table = self.membership.table();
        let is_known = |zone: &&str| {
            let mut pods = table.pods.values();
            pods.any(|pod| pod.zone.as_deref() == Some(*zone))
        };
        let named = named.and_then(|text| known(&table, text));
        named
            .or_else(|| mapped().filter(is_known))
            .map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use esker_metadata_api::{Pod, Roles};
    use esker_types::PodId;

    use super::*;

    fn pod(node_id: i32, zone: &str) -> Pod {
        Pod {
            pod: PodId::from_bytes([u8::try_from(node_id).unwrap(); 16]),
            node_id,
            roles: Roles::ALL,
            zone: Some(zone.to_owned()),
            kafka: None,
            internal: None,
            version: String::new(),
            is_draining: false,
            sessions: Vec::new(),
        }
    }

    fn zones(map: &str) -> ClientZones {
        let others = [pod(2, "eu-1b"), pod(3, "eu-1")];
        let membership = Membership::fixed(pod(1, "eu-1a"), others);
        let map = if map.is_empty() {
            ZoneMap::default()
        } else {
            map.parse().unwrap()
        };
        ClientZones::new(membership, Arc::new(map))
    }

    fn at(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    #[test]
    fn the_zone_is_what_stands_between_the_key_and_the_next_comma() {
        assert_eq!(named_in("app,zone=eu-1a,x=y"), Some("eu-1a"));
        assert_eq!(named_in("zone=b"), Some("b"));
        assert_eq!(named_in("app, zone=c"), Some("c"));
        assert_eq!(named_in("timezone=utc"), None);
        assert_eq!(named_in("zone="), None);
        assert_eq!(named_in(""), None);
    }

    #[test]
    fn a_client_id_goes_before_the_network_and_the_network_before_nothing() {
        let zones = zones("10.0.0.0/8=eu-1b");
        let (inside, outside) = (at("10.1.2.3"), at("192.0.2.1"));

        assert_eq!(
            zones.of(Some("app,zone=eu-1a"), inside).as_deref(),
            Some("eu-1a")
        );
        assert_eq!(zones.of(Some("app"), inside).as_deref(), Some("eu-1b"));
        assert_eq!(zones.of(None, inside).as_deref(), Some("eu-1b"));
        assert_eq!(zones.of(None, outside), None);
        assert_eq!(
            zones.of(Some("zone=eu-1a"), outside).as_deref(),
            Some("eu-1a")
        );
    }

    #[test]
    fn what_a_program_appends_to_its_zone_is_not_part_of_it() {
        let zones = zones("");
        let of = |client_id| zones.of(Some(client_id), at("10.1.2.3"));

        assert_eq!(
            of("zone=eu-1b-StreamThread-1-producer").as_deref(),
            Some("eu-1b")
        );
        assert_eq!(of("zone=eu-1-admin").as_deref(), Some("eu-1"));
    }

    #[test]
    fn a_zone_without_a_process_is_as_none() {
        let zones = zones("10.0.0.0/8=eu-1b,10.9.0.0/16=mars");

        assert_eq!(
            zones.of(Some("zone=mars"), at("10.1.2.3")).as_deref(),
            Some("eu-1b")
        );
        assert_eq!(zones.of(Some("zone=mars"), at("192.0.2.1")), None);
        assert_eq!(zones.of(None, at("10.9.2.3")), None);
    }
}
