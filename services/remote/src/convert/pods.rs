//! Membership.

use std::sync::Arc;
use std::time::Duration;

use esker_metadata_api::{Endpoint, Pod, PodLease, PodTable, Roles};
use esker_types::PodId;

use super::ids::{bytes16, id16, session};
use super::{Malformed, present};
use crate::proto;

impl From<Endpoint> for proto::Endpoint {
    fn from(value: Endpoint) -> Self {
        Self {
            host: value.host,
            port: u32::from(value.port),
        }
    }
}

fn endpoint(
    value: Option<proto::Endpoint>,
    field: &'static str,
) -> Result<Option<Endpoint>, Malformed> {
    let Some(value) = value else { return Ok(None) };
    let port = u16::try_from(value.port).map_err(|_| Malformed { field })?;
    Ok(Some(Endpoint {
        host: value.host,
        port,
    }))
}

impl From<&Pod> for proto::Pod {
    fn from(value: &Pod) -> Self {
        Self {
            pod: bytes16(value.pod.bytes()),
            node_id: value.node_id,
            roles: u32::from(value.roles.bits()),
            zone: value.zone.clone(),
            kafka: value.kafka.clone().map(Into::into),
            internal: value.internal.clone().map(Into::into),
            version: value.version.clone(),
            is_draining: value.is_draining,
            sessions: value
                .sessions
                .iter()
                .map(|session| bytes16(session.bytes()))
                .collect(),
        }
    }
}

impl TryFrom<proto::Pod> for Pod {
    type Error = Malformed;

    fn try_from(value: proto::Pod) -> Result<Self, Malformed> {
        let roles = u8::try_from(value.roles).ok().and_then(Roles::from_bits);
        let sessions = value.sessions.iter().map(|id| session(id));
        Ok(Self {
            pod: PodId::from_bytes(id16(&value.pod, "pod")?),
            node_id: value.node_id,
            roles: present(roles, "roles")?,
            zone: value.zone,
            kafka: endpoint(value.kafka, "kafka")?,
            internal: endpoint(value.internal, "internal")?,
            version: value.version,
            is_draining: value.is_draining,
            sessions: sessions.collect::<Result<_, _>>()?,
        })
    }
}

impl From<PodLease> for proto::announce_reply::Lease {
    fn from(value: PodLease) -> Self {
        Self {
            lease_ms: u32::try_from(value.lease.as_millis()).unwrap_or(u32::MAX),
            is_settled: value.table.is_settled,
            pods: value
                .table
                .pods
                .values()
                .map(|pod| (&**pod).into())
                .collect(),
        }
    }
}

impl From<proto::announce_reply::Lease> for PodLease {
    /// Pods that this version does not understand are left out: they are of a newer one.
    fn from(value: proto::announce_reply::Lease) -> Self {
        let pods = value.pods.into_iter().filter_map(|pod| {
            let pod = Pod::try_from(pod).ok()?;
            Some((pod.node_id, Arc::new(pod)))
        });
        Self {
            lease: Duration::from_millis(u64::from(value.lease_ms)),
            table: Arc::new(PodTable {
                is_settled: value.is_settled,
                pods: pods.collect(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use esker_types::SessionId;

    use super::*;

    fn pod(node_id: i32) -> Pod {
        Pod {
            pod: PodId::from_bytes([7; 16]),
            node_id,
            roles: Roles::INGEST.and(Roles::FETCH),
            zone: Some("eu-1a".to_owned()),
            kafka: Some(Endpoint {
                host: "::1".to_owned(),
                port: 9092,
            }),
            internal: None,
            version: "1.2.3".to_owned(),
            is_draining: true,
            sessions: vec![
                SessionId::from_bytes([4; 16]),
                SessionId::from_bytes([5; 16]),
            ],
        }
    }

    #[test]
    fn a_pod_and_a_lease_come_through_whole() {
        assert_eq!(Pod::try_from(proto::Pod::from(&pod(5))), Ok(pod(5)));
        let lease = PodLease {
            lease: Duration::from_secs(5),
            table: Arc::new(PodTable {
                is_settled: true,
                pods: [(5, Arc::new(pod(5)))].into(),
            }),
        };

        let back = PodLease::from(proto::announce_reply::Lease::from(lease.clone()));

        assert_eq!(back, lease);
    }

    #[test]
    fn what_is_not_understood_is_refused_of_one_and_left_out_of_many() {
        let mut newer = proto::Pod::from(&pod(5));
        newer.roles = 8;
        assert!(Pod::try_from(newer.clone()).is_err());
        let mut odd = proto::Pod::from(&pod(5));
        odd.kafka = Some(proto::Endpoint {
            host: "h".to_owned(),
            port: 65_536,
        });
        assert!(Pod::try_from(odd).is_err());
        let mut short = proto::Pod::from(&pod(5));
        short.sessions.push(Bytes::from_static(&[1; 15]));
        assert!(Pod::try_from(short).is_err());
        let lease = proto::announce_reply::Lease {
            lease_ms: 1,
            is_settled: true,
            pods: vec![newer, proto::Pod::from(&pod(6))],
        };

        let nodes: Vec<i32> = PodLease::from(lease).table.pods.keys().copied().collect();
        assert_eq!(nodes, [6]);
    }
}
