//! All servers that a client knows: those it was given, and some that it has heard of.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::peer::{Address, Dialler, Peer, PeerStatus, PeerTask};
use crate::config::is_address;
use crate::limits::{ADDRESSES_LEARNED_MAX, ADDRESSES_MAX};

#[derive(Debug)]
pub(super) struct Peers {
    known: Mutex<Known>,
    dialler: Arc<Dialler>,
    joining: mpsc::Sender<PeerTask>,
}

#[derive(Debug)]
struct Known {
    given: Vec<Peer>,
    learned: VecDeque<Peer>,
    /// Who led last, or is said to lead.
    preferred: Option<Address>,
}

impl Known {
    fn all(&self) -> impl Iterator<Item = &Peer> {
        self.given.iter().chain(&self.learned)
    }

    fn at(&self, address: &str) -> Option<&Peer> {
        self.all().find(|peer| *peer.address == *address)
    }

    /// The one behind `address`, and behind the last one the first.
    fn behind(&self, address: &str) -> Option<Address> {
        let mut later = self.all().skip_while(|peer| *peer.address != *address);
        let next = later.nth(1).or_else(|| self.all().next());
        next.map(|peer| Arc::clone(&peer.address))
    }
}

impl Peers {
    pub(super) fn new(
        addresses: &[String],
        dialler: Arc<Dialler>,
    ) -> (Self, mpsc::Receiver<PeerTask>) {
        let (joining, tasks) = mpsc::channel(ADDRESSES_MAX + ADDRESSES_LEARNED_MAX);
        let mut given: Vec<Peer> = Vec::new();
        for address in addresses {
            if given.iter().any(|peer| *peer.address == **address) {
                continue;
            }
            let (peer, task) = Peer::new(Arc::from(address.as_str()), Arc::clone(&dialler));
            // There is room for each address given; a peer whose task is gone is never connected.
            let _ = joining.try_send(task);
            given.push(peer);
        }
        let known = Known {
            given,
            learned: VecDeque::new(),
            preferred: None,
        };
        let peers = Self {
            known: Mutex::new(known),
            dialler,
            joining,
        };
        (peers, tasks)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom to ask next, having asked `asked`: who leads, then all others in order.
    pub(super) fn next(&self, asked: &[Address]) -> Option<Peer> {
        let known = self.lock();
        let open = |peer: &&Peer| !asked.contains(&peer.address);
        let preferred = known.preferred.as_deref().and_then(|at| known.at(at));
        let next = preferred.filter(open).or_else(|| known.all().find(open));
        next.cloned()
    }

    /// The server at `address` leads.
    pub(super) fn prefer(&self, address: &Address) {
        let mut known = self.lock();
        if known.preferred.as_ref() != Some(address) {
            known.preferred = Some(Arc::clone(address));
        }
    }

    /// The server at `address` does not lead, or is not reached; `hint` is who may lead. Without a
    /// hint the next one is asked first from now on, so that no dead or stubborn server holds up
    /// every call.
    pub(super) fn demote(&self, address: &Address, hint: &str) {
        let mut known = self.lock();
        let is_hint = is_address(hint) && *hint != **address;
        if is_hint && (known.at(hint).is_some() || self.learn(&mut known, hint)) {
            known.preferred = Some(Arc::from(hint));
            return;
        }
        let stays = known.preferred.as_ref().is_some_and(|now| now != address);
        if !stays {
            known.preferred = known.behind(address);
        }
    }

    fn learn(&self, known: &mut Known, address: &str) -> bool {
        let (peer, task) = Peer::new(Arc::from(address), Arc::clone(&self.dialler));
        if self.joining.try_send(task).is_err() {
            return false;
        }
        tracing::info!(address, "heard of a metadata server");
        known.learned.push_back(peer);
        if known.learned.len() > ADDRESSES_LEARNED_MAX {
            known.learned.pop_front();
        }
        true
    }

    pub(super) fn status(&self) -> Vec<PeerStatus> {
        self.lock().all().map(Peer::status).collect()
    }
}

#[cfg(test)]
mod tests {
    use esker_env::Env;
    use esker_types::ClusterId;

    use super::*;
    use crate::config::RemoteConfig;

    fn peers(addresses: &[&str]) -> (Peers, mpsc::Receiver<PeerTask>) {
        let addresses: Vec<_> = addresses.iter().map(|text| (*text).to_owned()).collect();
        let config = RemoteConfig::new(addresses.clone(), ClusterId::from_bytes([1; 16]), 1);
        let dialler = Arc::new(Dialler {
            config,
            env: Env::system(),
            metrics: Arc::default(),
        });
        Peers::new(&addresses, dialler)
    }

    fn order(peers: &Peers) -> Vec<String> {
        let mut asked = Vec::new();
        while let Some(peer) = peers.next(&asked) {
            asked.push(peer.address);
        }
        asked.iter().map(|address| address.to_string()).collect()
    }

    #[test]
    fn the_leader_is_asked_first_and_each_other_once() {
        let (peers, _tasks) = peers(&["a:1", "b:1", "a:1", "c:1"]);
        assert_eq!(order(&peers), ["a:1", "b:1", "c:1"]);

        peers.prefer(&Arc::from("c:1"));
        let led = order(&peers);
        peers.demote(&Arc::from("c:1"), "");
        let none = order(&peers);
        peers.demote(&Arc::from("a:1"), "b:1");
        let hinted = order(&peers);

        assert_eq!(led, ["c:1", "a:1", "b:1"]);
        assert_eq!(none, ["a:1", "b:1", "c:1"]);
        assert_eq!(hinted, ["b:1", "a:1", "c:1"]);
    }

    #[test]
    fn one_address_more_than_are_remembered_pushes_out_the_oldest() {
        let (peers, mut tasks) = peers(&["a:1"]);
        let from: Address = Arc::from("a:1");
        for port in 1..=ADDRESSES_LEARNED_MAX + 1 {
            peers.demote(&from, &format!("learned:{port}"));
        }
        peers.demote(&from, "no address");
        peers.demote(&from, "a:1");

        let known = order(&peers);

        assert_eq!(known.len(), 1 + ADDRESSES_LEARNED_MAX);
        assert!(!known.contains(&"learned:1".to_owned()));
        assert_eq!(known[0], format!("learned:{}", ADDRESSES_LEARNED_MAX + 1));
        let mut joined = 0;
        while tasks.try_recv().is_ok() {
            joined += 1;
        }
        assert_eq!(joined, 2 + ADDRESSES_LEARNED_MAX);
    }
}
