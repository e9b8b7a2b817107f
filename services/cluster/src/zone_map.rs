//! A map from the networks that clients are in to zones, as an operator writes it down.
//!
//! Strict: whatever could be meant in two ways, or would never be found, is refused. Called by the
//! settings of the binary; asked by [`crate::ClientZones`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::limits::{ZONE_BYTES_MAX, ZONE_MAP_ENTRIES_MAX};

/// Networks and their zones. Of several networks that hold an address the smallest one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneMap {
    /// The smallest networks first.
    entries: Vec<(Network, String)>,
}

/// Why a text is no zone map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZoneMapError {
    /// One entry is not of the form.
    #[error("{entry:?} is not NETWORK/BITS=ZONE, such as 10.0.1.0/24=eu-1a")]
    Form {
        /// It.
        entry: String,
    },
    /// The network is an address inside it.
    #[error("{entry:?} has bits set behind its first {bits}: the network is {network}/{bits}")]
    HostBits {
        /// The entry.
        entry: String,
        /// What was probably meant.
        network: IpAddr,
        /// Its length.
        bits: u8,
    },
    /// An IPv4 network written as IPv6: addresses of clients are looked up as IPv4.
    #[error("{entry:?} is an IPv4 network: write it as one")]
    MappedNetwork {
        /// The entry.
        entry: String,
    },
    /// No zone can be called that.
    #[error(
        "{entry:?} names no zone: 1 to {} bytes without blanks are wanted",
        ZONE_BYTES_MAX
    )]
    ZoneName {
        /// The entry.
        entry: String,
    },
    /// One network stands there twice.
    #[error("{network} stands there twice")]
    Twice {
        /// It.
        network: String,
    },
    /// More than a map may have.
    #[error("there are more than {} entries", ZONE_MAP_ENTRIES_MAX)]
    TooMany,
}

/// The first `bits` of `address` are what its hosts have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u8,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    let bits = u32::from(bits);
    match address {
        IpAddr::V4(address) => {
            let hosts = u32::MAX.checked_shr(bits).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & !hosts))
        }
        IpAddr::V6(address) => {
            let hosts = u128::MAX.checked_shr(bits).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !hosts))
        }
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        // `u8` would take a sign.
        let is_number = bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits: u8 = bits.parse().ok().filter(|_| is_number)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        (bits <= most).then_some(Self { address, bits })
    }

    fn holds(&self, address: IpAddr) -> bool {
        let is_same_family = self.address.is_ipv4() == address.is_ipv4();
        is_same_family && masked(address, self.bits) == self.address
    }
}

fn entry(text: &str) -> Result<(Network, String), ZoneMapError> {
    let entry = || text.to_owned();
    let form = || ZoneMapError::Form { entry: entry() };
    let (network, zone) = text.split_once('=').ok_or_else(form)?;
    let network = Network::parse(network).ok_or_else(form)?;
    if network.address.to_canonical() != network.address {
        return Err(ZoneMapError::MappedNetwork { entry: entry() });
    }
    let meant = masked(network.address, network.bits);
    if meant != network.address {
        return Err(ZoneMapError::HostBits {
            entry: entry(),
            network: meant,
            bits: network.bits,
        });
    }
    let is_sound = !zone.is_empty() && zone.len() <= ZONE_BYTES_MAX;
    if !is_sound || zone.contains(|one: char| one.is_whitespace() || one == '=') {
        return Err(ZoneMapError::ZoneName { entry: entry() });
    }
    Ok((network, zone.to_owned()))
}

impl FromStr for ZoneMap {
    type Err = ZoneMapError;

    /// `NETWORK/BITS=ZONE,…`, with blanks around entries.
    fn from_str(text: &str) -> Result<Self, ZoneMapError> {
        let mut entries: Vec<(Network, String)> = Vec::new();
        for text in text.split(',') {
            if entries.len() >= ZONE_MAP_ENTRIES_MAX {
                return Err(ZoneMapError::TooMany);
            }
            let (network, zone) = entry(text.trim())?;
            if entries.iter().any(|(other, _)| *other == network) {
                let network = network.to_string();
                return Err(ZoneMapError::Twice { network });
            }
            entries.push((network, zone));
        }
        entries.sort_by_key(|(network, _)| std::cmp::Reverse(network.bits));
        Ok(Self { entries })
    }
}

impl ZoneMap {
    /// The zone of the smallest network that holds `address`.
    #[must_use]
    pub fn zone_of(&self, address: IpAddr) -> Option<&str> {
        let address = address.to_canonical();
        let mut entries = self.entries.iter();
        let found = entries.find(|(network, _)| network.holds(address));
        found.map(|(_, zone)| zone.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> ZoneMap {
        text.parse().unwrap()
    }

    fn refusal(text: &str) -> ZoneMapError {
        text.parse::<ZoneMap>().unwrap_err()
    }

    fn at(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    #[test]
    fn the_smallest_network_that_holds_an_address_says_its_zone() {
        let map =
            map("10.0.0.0/8=far, 10.0.1.0/24=near,10.0.1.7/32=one,fd00::/8=six,0.0.0.0/0=any");

        assert_eq!(map.zone_of(at("10.0.1.7")), Some("one"));
        assert_eq!(map.zone_of(at("10.0.1.8")), Some("near"));
        assert_eq!(map.zone_of(at("10.0.2.8")), Some("far"));
        assert_eq!(map.zone_of(at("11.0.0.1")), Some("any"));
        assert_eq!(map.zone_of(at("fd12::1")), Some("six"));
        assert_eq!(map.zone_of(at("fe80::1")), None, "IPv6 is not in 0.0.0.0/0");
        assert_eq!(map.zone_of(at("::ffff:10.0.1.8")), Some("near"));
        assert_eq!(ZoneMap::default().zone_of(at("10.0.1.7")), None);
    }

    #[test]
    fn an_entry_that_is_not_of_the_form_is_refused() {
        let all = [
            "",
            "10.0.1.0/24",
            "10.0.1.0=a",
            "10.0.1/24=a",
            "10.0.1.0/33=a",
            "10.0.1.0/+8=a",
            "10.0.1.0/=a",
            "fd00::/129=a",
            "host/24=a",
            "10.0.1.0/24=a,",
            "10.0.1.0 /24=a",
        ];
        for text in all {
            assert!(matches!(refusal(text), ZoneMapError::Form { .. }), "{text}");
        }
    }

    #[test]
    fn what_was_probably_meant_is_told() {
        let told = refusal("10.0.1.0/24=a,10.0.1.9/24=b").to_string();

        assert!(told.contains("the network is 10.0.1.0/24"), "{told}");
        assert!(matches!(
            refusal("fd00::1/64=a"),
            ZoneMapError::HostBits { bits: 64, .. }
        ));
    }

    #[test]
    fn an_ipv4_network_in_the_clothes_of_ipv6_would_never_be_found() {
        assert!(matches!(
            refusal("::ffff:10.0.0.0/104=a"),
            ZoneMapError::MappedNetwork { .. }
        ));
    }

    #[test]
    fn a_zone_has_a_name_within_bounds() {
        let long = |bytes: usize| format!("10.0.0.0/8={}", "z".repeat(bytes));

        let too_long = long(ZONE_BYTES_MAX + 1);

        assert_eq!(map(&long(ZONE_BYTES_MAX)).entries.len(), 1);
        for text in [
            too_long.as_str(),
            "10.0.0.0/8=",
            "10.0.0.0/8=a b",
            "10.0.0.0/8=a=b",
        ] {
            assert!(matches!(refusal(text), ZoneMapError::ZoneName { .. }));
        }
    }

    #[test]
    fn one_network_has_one_zone() {
        let network = "10.0.0.0/8".to_owned();

        assert_eq!(
            refusal("10.0.0.0/8=a,10.0.0.0/8=a"),
            ZoneMapError::Twice { network }
        );
    }

    #[test]
    fn one_entry_past_the_limit_is_refused() {
        let all = |count: usize| {
            let one = |at: usize| format!("10.{}.{}.0/24=a", at / 200, at % 200);
            (0..count).map(one).collect::<Vec<_>>().join(",")
        };

        assert_eq!(
            map(&all(ZONE_MAP_ENTRIES_MAX)).entries.len(),
            ZONE_MAP_ENTRIES_MAX
        );
        assert_eq!(
            refusal(&all(ZONE_MAP_ENTRIES_MAX + 1)),
            ZoneMapError::TooMany
        );
    }
}
