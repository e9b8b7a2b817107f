//! Who kills, stops, cuts off and heals: draws one action after the other while faults last, keeps
//! pods running, and makes all well at the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use esker_env::Rng;
use esker_object::KeyClass;

use crate::clock::sleep;
use crate::store_faults::Weather;
use crate::world::{Place, Trap, World};

/// Acts on a world.
#[derive(Clone, Debug)]
pub(crate) struct Director {
    pub(crate) world: Arc<World>,
    pub(crate) rng: Rng,
}

/// What may be done; each is drawn as often as the others.
#[derive(Clone, Copy, Debug)]
enum Action {
    Kill,
    Stop,
    StopLeader,
    KillLeader,
    Drain,
    Suspect,
    Isolate,
    StopChallenger,
    StopInPut,
    CutPods,
    CutStore,
    CutClients,
    Trouble,
    Outage,
    Storm,
    NetTrouble,
}

const ACTIONS: [Action; 16] = [
    Action::Kill,
    Action::Stop,
    Action::StopLeader,
    Action::KillLeader,
    Action::Drain,
    Action::Suspect,
    Action::Isolate,
    Action::StopChallenger,
    Action::StopInPut,
    Action::CutPods,
    Action::CutStore,
    Action::CutClients,
    Action::Trouble,
    Action::Outage,
    Action::Storm,
    Action::NetTrouble,
];

impl Director {
    fn pick(&self, count: usize) -> usize {
        usize::try_from(self.rng.below(u64::try_from(count).unwrap_or(1))).unwrap_or(0)
    }

    fn seconds(&self, low: f64, high: f64) -> Duration {
        // Short ones are the more frequent.
        let unit = self.rng.unit();
        Duration::from_secs_f64(low + (high - low) * unit * unit)
    }

    fn any_pod(&self) -> usize {
        self.pick(self.world.pods.len())
    }

    /// Starts pods again whose process ended by itself, for as long as the run lasts.
    pub(crate) async fn supervise(self) {
        loop {
            self.world.exits.notified().await;
            for slot in &self.world.pods {
                let has_ended = slot.life().as_ref().is_some_and(|life| life.ended);
                if has_ended {
                    slot.kill();
                    let delay = self.seconds(0.2, 4.0);
                    self.start_later(slot.index, delay);
                }
            }
        }
    }

    fn start_later(&self, index: usize, delay: Duration) {
        let world = Arc::clone(&self.world);
        self.world.spawn(async move {
            sleep(delay).await;
            if !world.pods.get(index).is_some_and(|slot| slot.is_alive()) {
                world.start(index);
            }
        });
    }

    fn kill(&self, index: usize, name: &'static str) {
        let Some(slot) = self.world.pods.get(index).filter(|slot| slot.is_alive()) else {
            return;
        };
        self.world.count_fault(name);
        self.world.event(format_args!("kill pod {index}"));
        slot.kill();
        self.start_later(index, self.seconds(0.05, 12.0));
    }

    /// SIGSTOP, and SIGCONT later.
    fn stop(&self, index: usize, name: &'static str) {
        let length = self.seconds(0.3, 45.0);
        if self.world.stop(index, length) {
            self.world.count_fault(name);
        }
    }

    fn drain(&self, index: usize) {
        let Some(slot) = self.world.pods.get(index) else {
            return;
        };
        if let Some(life) = slot.life().as_ref() {
            self.world.count_fault("process drained (SIGTERM)");
            self.world.event(format_args!("drain pod {index}"));
            life.request_stop();
        }
    }

    /// A candidate that is stopped while its seal is on its way: what it has read is old by then.
    fn stop_challenger(&self) {
        let Some(leader) = self.leader() else {
            return;
        };
        self.suspect(leader);
        let slots = self.world.pods.iter();
        let others = slots.filter(|slot| slot.roles.metadata && slot.index != leader);
        let others: Vec<usize> = others.map(|slot| slot.index).collect();
        let Some(other) = others.get(self.pick(others.len())).copied() else {
            return;
        };
        let until_collected = self.rng.below(2) == 0;
        let trap = Trap {
            class: KeyClass::Journal,
            length: match until_collected {
                true => Duration::from_secs(40),
                false => self.seconds(3.0, 40.0),
            },
            until_collected,
        };
        self.world.set_trap(other, trap);
    }

    /// Any pod, stopped while its next put of a kind is on its way.
    fn stop_in_put(&self) {
        let class = match self.rng.below(2) {
            0 => KeyClass::Journal,
            _ => KeyClass::Session,
        };
        let trap = Trap {
            class,
            length: self.seconds(1.0, 40.0),
            until_collected: false,
        };
        self.world.set_trap(self.any_pod(), trap);
    }

    /// A leader that cannot hear that it is deposed, while others can still ask it. Its requests
    /// may reach the store all the same: then its journal entries stand, and it does not know.
    fn isolate(&self) {
        let Some(leader) = self.leader() else {
            return;
        };
        let pod = Place::Pod(leader);
        let ways = self.ways();
        let length = Duration::from_secs(4 + self.rng.below(26));
        self.cut_for(pod, Place::Store, ways, length);
        self.world.count_fault("leader cut off from the store");
        let (director, delay) = (self.clone(), self.seconds(0.0, 3.0));
        self.world.spawn(async move {
            sleep(delay).await;
            director.suspect(leader);
        });
    }

    fn suspect(&self, leader: usize) {
        self.world.count_fault("living leader taken for dead");
        let world = Arc::clone(&self.world);
        let length = self.seconds(2.0, 12.0);
        if let Some(slot) = self.world.pods.get(leader) {
            slot.suspected.fetch_add(1, Ordering::Relaxed);
        }
        self.world.spawn(async move {
            sleep(length).await;
            if let Some(slot) = world.pods.get(leader) {
                slot.suspected.fetch_sub(1, Ordering::Relaxed);
            }
        });
    }

    fn leader(&self) -> Option<usize> {
        let leaders = self.world.leaders();
        leaders.get(self.pick(leaders.len())).copied()
    }

    fn cut(&self, one: Place, other: Place, name: &'static str) {
        if one == other {
            return;
        }
        self.world.count_fault(name);
        let ways = self.ways();
        self.cut_for(one, other, ways, self.seconds(0.5, 25.0));
    }

    /// Which ways are cut, there and back. A store whose replies alone are lost is the hardest to
    /// tell from one that is slow.
    fn ways(&self) -> (bool, bool) {
        match self.rng.below(4) {
            0 => (true, false),
            1 | 2 => (false, true),
            _ => (true, true),
        }
    }

    fn cut_for(&self, one: Place, other: Place, (there, back): (bool, bool), length: Duration) {
        self.world
            .event(format_args!("cut {one:?} {other:?} {there} {back}"));
        if there {
            self.world.cut(one, other);
        }
        if back {
            self.world.cut(other, one);
        }
        let world = Arc::clone(&self.world);
        self.world.spawn(async move {
            sleep(length).await;
            world.mend(one, other);
            world.mend(other, one);
        });
    }

    fn weather(&self, weather: Weather, name: &'static str, length: Duration) {
        self.world.count_fault(name);
        self.world
            .event(format_args!("weather {weather:?} for {length:?}"));
        self.world.set_weather(weather);
        let world = Arc::clone(&self.world);
        self.world.spawn(async move {
            sleep(length).await;
            // Another weather may have come meanwhile; it then ends a little early.
            world.set_weather(Weather::Fair);
        });
    }

    fn act(&self, action: Action) {
        match action {
            Action::Kill => self.kill(self.any_pod(), "process killed"),
            Action::Stop => self.stop(self.any_pod(), "process stopped"),
            Action::StopLeader => {
                if let Some(leader) = self.leader() {
                    self.stop(leader, "leader stopped");
                }
            }
            Action::KillLeader => {
                if let Some(leader) = self.leader() {
                    self.kill(leader, "leader killed");
                }
            }
            Action::Drain => self.drain(self.any_pod()),
            Action::Suspect => {
                if let Some(leader) = self.leader() {
                    self.suspect(leader);
                }
            }
            Action::Isolate => self.isolate(),
            Action::StopChallenger => self.stop_challenger(),
            Action::StopInPut => self.stop_in_put(),
            Action::CutPods => {
                let (one, other) = (Place::Pod(self.any_pod()), Place::Pod(self.any_pod()));
                self.cut(one, other, "pods cut off from each other");
            }
            Action::CutStore => {
                let pod = Place::Pod(self.any_pod());
                self.cut(pod, Place::Store, "pod cut off from the store");
            }
            Action::CutClients => {
                let pod = Place::Pod(self.any_pod());
                self.cut(Place::Clients, pod, "pod cut off from clients");
            }
            Action::Trouble => {
                let length = self.seconds(2.0, 30.0);
                self.weather(Weather::Troubled, "store troubled", length);
            }
            Action::Outage => {
                let length = self.seconds(0.5, 15.0);
                self.weather(Weather::Outage, "store outage", length);
            }
            Action::Storm => {
                let length = self.seconds(0.5, 10.0);
                self.weather(Weather::Storm, "store throttling storm", length);
            }
            Action::NetTrouble => {
                self.world.count_fault("network troubled");
                self.world.set_net_trouble(true);
                let (world, length) = (Arc::clone(&self.world), self.seconds(2.0, 30.0));
                self.world.spawn(async move {
                    sleep(length).await;
                    world.set_net_trouble(false);
                });
            }
        }
    }

    /// Acts until the time of faults is over.
    pub(crate) async fn direct(&self) {
        let end = self.world.elapsed() + self.world.options.fault_time;
        // Each seed knows some of the actions only, so that every kind is alone sometimes.
        let known: Vec<Action> = ACTIONS
            .into_iter()
            .filter(|_| self.rng.below(100) < 55)
            .collect();
        // Half of them have a favourite, so that what needs several strokes of one kind happens.
        let favourite = ACTIONS.get(self.pick(2 * ACTIONS.len()));
        while self.world.elapsed() < end {
            let gap = self.world.options.action_gap;
            sleep(gap.mul_f64(0.1 + 1.8 * self.rng.unit())).await;
            let favoured = favourite.filter(|_| self.rng.below(2) == 0);
            if let Some(action) = favoured.or_else(|| known.get(self.pick(known.len()))) {
                self.act(*action);
            }
        }
    }

    /// Everything is well from here on: no fault, every pod lives and runs.
    pub(crate) fn heal(&self) {
        let world = &self.world;
        world.event(format_args!("heal"));
        world.set_weather(Weather::Fair);
        world.set_net_trouble(false);
        world.mend_all();
        world.clear_traps();
        for slot in &world.pods {
            slot.suspected.store(0, Ordering::Relaxed);
            if let Some(life) = slot.life().as_ref() {
                life.suspension.resume();
            }
            self.start_later(slot.index, Duration::ZERO);
        }
    }
}
