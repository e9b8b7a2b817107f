//! When a process that does not lead challenges the one that does, and how long a deposed one
//! waits.
//!
//! Pure; driven by `task.rs`. Liveness only: any number may challenge at any time, the journal
//! fences. A leader counts as alive when it is heard, or when the journal grows although it is not
//! heard: whoever writes may go on, for long. Two that hear nothing of each other and write nothing
//! would depose one another at every start: the pause of the deposed grows with each turn, bounded.

use std::time::Duration;

use esker_env::Rng;
use esker_journal::JournalReached;

use crate::config::MetadataConfig;
use crate::limits::{DEPOSED_CALM_AFTER, DEPOSED_PAUSE_MAX, DEPOSED_PAUSE_MIN};

/// Whether the leader's address is that of this process itself: then whoever led from there is
/// gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Neighbour {
    OwnAddress,
    Another,
}

/// What is known of the leader's life.
#[derive(Clone, Debug)]
pub(crate) struct LeaderWatch {
    /// Looks in a row that did not find it alive.
    misses: u32,
    /// Looks in a row that did not hear it.
    unheard: u32,
    /// It was found alive once. Else this may be the start behind its end, with clients waiting.
    was_alive: bool,
    /// Where the journal ended when it was last read for want of an answer.
    read_to: Option<JournalReached>,
}

impl LeaderWatch {
    /// The journal was just read to `read_to`; nobody was asked yet.
    pub(crate) fn new(read_to: JournalReached) -> Self {
        Self {
            misses: 0,
            unheard: 0,
            was_alive: false,
            read_to: Some(read_to),
        }
    }

    /// It answered.
    pub(crate) fn heard(&mut self) {
        *self = Self {
            misses: 0,
            unheard: 0,
            was_alive: true,
            read_to: None,
        };
    }

    /// It did not answer.
    pub(crate) fn missed(&mut self) {
        self.misses = self.misses.saturating_add(1);
        self.unheard = self.unheard.saturating_add(1);
    }

    /// It did not answer when it was last asked.
    pub(crate) fn is_missing(&self) -> bool {
        self.misses > 0
    }

    /// The journal was read to `read_to`; whether that shows somebody at work who is not heard.
    pub(crate) fn read(&mut self, read_to: JournalReached) -> bool {
        if !self.is_missing() {
            return false;
        }
        let grew = self.read_to.is_some_and(|before| before != read_to);
        self.read_to = Some(read_to);
        if grew {
            self.misses = 0;
            self.was_alive = true;
        }
        grew
    }

    /// Whether to challenge it now.
    pub(crate) fn gives_up(&self, config: &MetadataConfig, neighbour: Neighbour) -> bool {
        let misses_max = match (self.was_alive, neighbour) {
            (true, _) => config.standby_misses_max,
            (false, Neighbour::Another) => config.start_misses_max,
            (false, Neighbour::OwnAddress) => 1,
        };
        self.misses >= misses_max || self.unheard >= config.unheard_misses_max
    }

    /// From the last look to the next, jitter not counted.
    pub(crate) fn interval(&self, config: &MetadataConfig) -> Duration {
        if self.was_alive {
            config.standby_interval
        } else {
            config.start_interval
        }
    }
}

/// How long a process that led for `led` and was deposed waits before it is started again. Nothing
/// behind a long leadership: this was a take-over like any other.
pub(crate) fn deposed_pause(led: Duration, rng: &Rng) -> Duration {
    if led >= DEPOSED_CALM_AFTER {
        return Duration::ZERO;
    }
    let pause = led.saturating_mul(2);
    let pause = pause.clamp(DEPOSED_PAUSE_MIN, DEPOSED_PAUSE_MAX);
    pause.mul_f64(0.75 + rng.unit() / 2.0)
}

#[cfg(test)]
mod tests {
    use esker_journal::RollNumber;

    use super::*;

    fn reached(place: u64) -> JournalReached {
        JournalReached {
            roll: RollNumber::FIRST,
            place,
        }
    }

    #[test]
    fn a_leader_that_was_alive_is_missed_as_often_as_configured() {
        let config = MetadataConfig::default();
        let mut watch = LeaderWatch::new(reached(4));
        watch.heard();

        for misses in 1..=config.standby_misses_max {
            watch.missed();
            let given_up = watch.gives_up(&config, Neighbour::OwnAddress);
            assert_eq!(given_up, misses == config.standby_misses_max);
            // What was written before the first look is no sign of life.
            assert!(!watch.read(reached(9)));
        }
    }

    #[test]
    fn a_leader_never_seen_alive_is_looked_at_twice_and_at_the_own_address_once() {
        let config = MetadataConfig::default();
        let mut watch = LeaderWatch::new(reached(4));

        watch.missed();
        let first = (
            watch.gives_up(&config, Neighbour::OwnAddress),
            watch.gives_up(&config, Neighbour::Another),
        );
        watch.missed();
        let second = watch.gives_up(&config, Neighbour::Another);

        assert_eq!((first, second), ((true, false), true));
        assert_eq!(watch.interval(&config), config.start_interval);
    }

    #[test]
    fn a_journal_that_grows_shows_a_leader_that_is_not_heard() {
        let config = MetadataConfig::default();
        let mut watch = LeaderWatch::new(reached(4));

        for place in 5..100 {
            watch.missed();
            assert!(watch.read(reached(place)));
            assert!(!watch.gives_up(&config, Neighbour::Another));
        }
        for _ in 0..config.standby_misses_max {
            watch.missed();
            assert!(!watch.read(reached(99)));
        }

        assert!(watch.gives_up(&config, Neighbour::Another));
        assert_eq!(watch.interval(&config), config.standby_interval);
    }

    #[test]
    fn a_leader_that_writes_and_is_never_heard_is_borne_for_long_and_not_for_ever() {
        let config = MetadataConfig::default();
        let mut watch = LeaderWatch::new(reached(4));
        let mut looks = 0;

        while !watch.gives_up(&config, Neighbour::Another) {
            looks += 1;
            watch.missed();
            watch.read(reached(4 + u64::from(looks)));
        }

        assert_eq!(looks, config.unheard_misses_max);
    }

    #[test]
    fn the_pause_of_the_deposed_grows_to_its_bound_and_is_none_behind_a_long_leadership() {
        let rng = Rng::from_seed(1);
        let within = |least: Duration, most: Duration, led: Duration| {
            let pause = deposed_pause(led, &rng);
            assert!(least.mul_f64(0.75) <= pause, "{led:?}: {pause:?}");
            assert!(pause <= most.mul_f64(1.25), "{led:?}: {pause:?}");
        };

        for _ in 0..100 {
            within(DEPOSED_PAUSE_MIN, DEPOSED_PAUSE_MIN, Duration::ZERO);
            let led = Duration::from_millis(1500);
            within(led * 2, led * 2, led);
            let almost = DEPOSED_CALM_AFTER.saturating_sub(Duration::from_millis(1));
            within(DEPOSED_PAUSE_MAX, DEPOSED_PAUSE_MAX, almost);
        }
        assert_eq!(deposed_pause(DEPOSED_CALM_AFTER, &rng), Duration::ZERO);
    }
}
