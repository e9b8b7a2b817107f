//! What all of one run share: time, the log, the bucket, the network, the pods, the history.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use esker_env::Rng;
use esker_object::{KeyClass, ObjectKey, Operation};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::log::Log;
use crate::options::Options;
use crate::pods::PodSlot;
use crate::recorder::Recorder;
use crate::store::Objects;
use crate::store_faults::{StoreFault, StoreFaults, Weather};

/// An end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Pod(usize),
    Store,
    Clients,
}

/// A pod's next put of a class is held up, and the pod stopped meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trap {
    pub(crate) class: KeyClass,
    /// At most so long.
    pub(crate) length: Duration,
    /// Until somebody has collected what stood at the place: the put finds it free.
    pub(crate) until_collected: bool,
}

/// Which messages do not arrive.
#[derive(Debug, Default)]
struct Links {
    cut: BTreeSet<(Place, Place)>,
    is_troubled: bool,
}

/// One run.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) root: Rng,
    pub(crate) begun: Instant,
    pub(crate) pods: Vec<PodSlot>,
    /// Pods whose process ended by itself.
    pub(crate) exits: Notify,
    net_rng: Rng,
    log: Mutex<Log>,
    recorder: Mutex<Recorder>,
    objects: Mutex<Objects>,
    faults: Mutex<StoreFaults>,
    links: Mutex<Links>,
    /// By pod.
    traps: Mutex<BTreeMap<usize, Trap>>,
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(crate) fn new(seed: u64, recorder: Recorder, is_traced: bool) -> Arc<Self> {
        let root = Rng::from_seed(seed);
        let options = Options::draw(&root);
        let roles = options.pods.iter().enumerate();
        let pods = roles.map(|(index, roles)| PodSlot::new(index, *roles));
        let world = Self {
            pods: pods.collect(),
            options,
            net_rng: root.stream("network"),
            root,
            begun: Instant::now(),
            exits: Notify::new(),
            log: Mutex::new(Log::new(is_traced)),
            recorder: Mutex::new(recorder),
            objects: Mutex::default(),
            faults: Mutex::default(),
            links: Mutex::default(),
            traps: Mutex::default(),
        };
        Arc::new(world)
    }

    /// Virtual time since the run's begin.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// A task of the world: no pod's death or stop touches it.
    #[expect(
        clippy::disallowed_methods,
        reason = "the world outlives all pods; the runtime's end ends it"
    )]
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    pub(crate) fn event(&self, what: std::fmt::Arguments<'_>) {
        self.log().event(self.elapsed(), what);
    }

    pub(crate) fn count_fault(&self, name: &'static str) {
        self.log().fault(name);
    }

    /// Something that no client may ever see, beyond what the history's checker looks for.
    pub(crate) fn violation(&self, what: String) {
        self.event(format_args!("VIOLATION {what}"));
        let at = self.elapsed().as_secs_f64();
        self.log().violation(format!("at {at:.3} s: {what}"));
    }

    pub(crate) fn recorder(&self) -> MutexGuard<'_, Recorder> {
        lock(&self.recorder)
    }

    pub(crate) fn objects(&self) -> MutexGuard<'_, Objects> {
        lock(&self.objects)
    }

    pub(crate) fn store_fault(
        &self,
        rng: &Rng,
        request: (usize, Operation, &ObjectKey),
    ) -> Option<StoreFault> {
        lock(&self.faults).strike(&self.options, rng, request, self.elapsed())
    }

    /// The next put of a class by `pod` is late, and the pod is stopped meanwhile.
    pub(crate) fn set_trap(&self, pod: usize, trap: Trap) {
        lock(&self.traps).insert(pod, trap);
    }

    pub(crate) fn clear_traps(&self) {
        lock(&self.traps).clear();
    }

    pub(crate) fn take_trap(&self, pod: usize, key: &ObjectKey) -> Option<Trap> {
        let mut traps = lock(&self.traps);
        traps.get(&pod).filter(|trap| trap.class == key.class())?;
        traps.remove(&pod)
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        lock(&self.faults).weather = weather;
    }

    pub(crate) fn set_net_trouble(&self, is_troubled: bool) {
        lock(&self.links).is_troubled = is_troubled;
    }

    pub(crate) fn cut(&self, from: Place, to: Place) {
        lock(&self.links).cut.insert((from, to));
    }

    pub(crate) fn mend(&self, from: Place, to: Place) {
        lock(&self.links).cut.remove(&(from, to));
    }

    pub(crate) fn mend_all(&self) {
        lock(&self.links).cut.clear();
    }

    pub(crate) fn is_cut(&self, from: Place, to: Place) -> bool {
        lock(&self.links).cut.contains(&(from, to))
    }

    /// Whether a message on this way is lost by chance.
    pub(crate) fn is_lost(&self) -> bool {
        let troubled = lock(&self.links).is_troubled;
        troubled && self.net_rng.below(1_000_000) < self.options.loss_ppm
    }

    /// The way of one message, in milliseconds mostly.
    pub(crate) fn way(&self, from: Place, to: Place) -> Duration {
        if from == to {
            return Duration::ZERO;
        }
        let troubled = lock(&self.links).is_troubled;
        let micros = 300 + self.net_rng.below(1_500);
        let slow = troubled && self.net_rng.below(50) == 0;
        let more = if slow {
            self.net_rng.below(1_500_000)
        } else {
            0
        };
        Duration::from_micros(micros + more)
    }

    pub(crate) fn chance(&self, percent: u64) -> bool {
        self.net_rng.below(100) < percent
    }
}
