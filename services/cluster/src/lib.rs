//! Which processes there are, and which of them clients and requests are sent to.
//!
//! [`Membership`] announces this process and hears of the others; [`Placement`] maps partitions and
//! groups to processes, [`block_owner`] blocks of segments; [`ClientZones`] says which zone a
//! client is in. Invariants: every process with the same table computes the same; a process that
//! comes or goes moves only what it had or gets; nothing here is about safety, a wrong table costs
//! a hop. Limits: [`limits`], and those of pods in `esker_metadata_api`. Cost: one call to the
//! metadata service a second and process, some hashing per request that asks who leads, and per
//! block that is loaded.

mod blocks;
mod client_zones;
pub mod limits;
mod membership;
mod placement;
mod zone_map;

pub use blocks::{block_owner, session_writer};
pub use client_zones::ClientZones;
pub use membership::{Membership, MembershipTask, NODE_IDS_DRAWN, draw_node_id};
pub use placement::{ClientsSee, Member, Placement};
pub use zone_map::{ZoneMap, ZoneMapError};
