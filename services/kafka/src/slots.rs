//! How many connections there are, in all and of each client address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::ListenerConfig;
use crate::metrics::{Metrics, Refusal};

/// Places for connections.
#[derive(Debug)]
pub(crate) struct Slots {
    connections_max: usize,
    per_address_max: usize,
    taken: Mutex<Taken>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// One connection's place; dropping it frees the place, also when its task panics.
#[derive(Debug)]
pub(crate) struct ConnectionPlace {
    slots: Arc<Slots>,
    address: IpAddr,
}

impl Slots {
    pub(crate) fn new(config: &ListenerConfig, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            connections_max: config.connections_max,
            per_address_max: config.connections_per_address_max,
            taken: Mutex::default(),
            metrics,
        })
    }

    /// A place for a connection of `address`, or why there is none.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Result<ConnectionPlace, Refusal> {
        let address = address.to_canonical();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.connections_max {
            return Err(Refusal::Connections);
        }
        let of_address = taken.by_address.get(&address).copied().unwrap_or(0);
        if of_address >= self.per_address_max {
            return Err(Refusal::ConnectionsPerAddress);
        }
        taken.all += 1;
        taken.by_address.insert(address, of_address + 1);
        self.metrics.connection_opened();
        Ok(ConnectionPlace {
            slots: Arc::clone(self),
            address,
        })
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let slots = &self.slots;
        let mut taken = slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        if let Some(count) = taken.by_address.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.by_address.remove(&self.address);
            }
        }
        slots.metrics.connection_closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX};

    fn address(n: u16) -> IpAddr {
        IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x0a00, n])
    }

    #[test]
    fn one_address_gets_its_limit_and_not_one_more() {
        let slots = Slots::new(&ListenerConfig::default(), Arc::default());
        let mut places = Vec::new();
        for _ in 0..CONNECTIONS_PER_ADDRESS_MAX {
            places.push(slots.take(address(1)).unwrap());
        }

        let refused = slots.take(IpAddr::from([10, 0, 0, 1]));
        let other = slots.take(address(2));
        drop(places.pop());
        let again = slots.take(address(1));

        assert!(matches!(refused, Err(Refusal::ConnectionsPerAddress)));
        assert!(other.is_ok() && again.is_ok());
    }

    #[test]
    fn a_process_takes_its_limit_and_not_one_more() {
        let slots = Slots::new(&ListenerConfig::default(), Arc::default());
        let addresses = (0..=u16::MAX).flat_map(|n| [n; 100]).map(address);
        let places: Vec<_> = addresses.map_while(|from| slots.take(from).ok()).collect();

        let refused = slots.take(address(u16::MAX));

        assert_eq!(places.len(), CONNECTIONS_MAX);
        assert!(matches!(refused, Err(Refusal::Connections)));
        drop(places);
        assert_eq!(slots.metrics.connections_open(), 0);
        assert!(slots.taken.lock().unwrap().by_address.is_empty());
    }
}
