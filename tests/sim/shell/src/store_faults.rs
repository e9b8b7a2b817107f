//! The faults of the store, in the words of the fault matrix, and when they strike.

use std::collections::BTreeMap;
use std::time::Duration;

use esker_env::Rng;
use esker_object::{ObjectKey, Operation};

use crate::options::Options;

macro_rules! faults {
    ($($variant:ident, $name:literal, $ppm_max:literal;)*) => {
        /// What may happen to a request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum StoreFault {
            $(#[doc = $name] $variant,)*
        }

        impl StoreFault {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Above this share nothing would go on.
            pub(crate) const fn ppm_max(self) -> u64 {
                match self { $(Self::$variant => $ppm_max,)* }
            }
        }
    };
}

faults! {
    BeforeCode, "store FB code: not done, 500", 60_000;
    BeforeRefused, "store FB refused: not done, and said so", 60_000;
    BeforeHang, "store FB hang: not done, no answer", 30_000;
    AfterCode, "store FA code: done, 500", 60_000;
    AfterHang, "store FA hang: done, no answer", 60_000;
    Hold, "store HOLD: put done long after", 40_000;
    Twice, "store DUP: put done twice", 60_000;
    Slow, "store SLOW", 60_000;
    Cut, "store TRUNC", 40_000;
    Flip, "store FLIP: a bit of a read", 10_000;
    Conflict, "store C409: not done", 60_000;
    ConflictDone, "store C409: done", 60_000;
    Throttle, "store throttles", 60_000;
    StaleList, "store STALELIST", 400_000;
}

/// What the store suffers from at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Weather {
    #[default]
    Fair,
    /// The faults of the seed, at their rates.
    Troubled,
    /// Nothing is answered well.
    Outage,
    /// Most requests are turned away.
    Storm,
}

/// Decides what happens to each request.
#[derive(Debug, Default)]
pub(crate) struct StoreFaults {
    pub(crate) weather: Weather,
    /// When a read of a key was last spoiled: damage of the way, not of the object, so reading
    /// again helps.
    spoiled: BTreeMap<(usize, ObjectKey), Duration>,
}

/// A second look at the same key within this time is clean.
const SPOILED_APART: Duration = Duration::from_secs(60);

fn fits(fault: StoreFault, operation: Operation) -> bool {
    use StoreFault as F;
    match fault {
        F::BeforeCode | F::BeforeRefused | F::BeforeHang | F::Slow | F::Throttle => true,
        F::AfterCode | F::AfterHang | F::Hold | F::Twice => {
            matches!(operation, Operation::Put | Operation::Delete)
        }
        F::Conflict | F::ConflictDone => operation == Operation::Put,
        F::Cut => matches!(operation, Operation::Put | Operation::Get),
        F::Flip => operation == Operation::Get,
        F::StaleList => operation == Operation::List,
    }
}

impl StoreFaults {
    pub(crate) fn strike(
        &mut self,
        options: &Options,
        rng: &Rng,
        request: (usize, Operation, &ObjectKey),
        now: Duration,
    ) -> Option<StoreFault> {
        let (pod, operation, key) = request;
        match self.weather {
            Weather::Fair => None,
            Weather::Outage => Some(match rng.below(3) {
                0 => StoreFault::BeforeCode,
                1 => StoreFault::BeforeRefused,
                _ => StoreFault::BeforeHang,
            }),
            Weather::Storm => (rng.below(100) < 75).then_some(StoreFault::Throttle),
            Weather::Troubled => {
                let fault = self.by_chance(options, rng, operation)?;
                if matches!(fault, StoreFault::Flip | StoreFault::Cut) {
                    let last = self.spoiled.insert((pod, key.clone()), now);
                    if last.is_some_and(|last| now.saturating_sub(last) < SPOILED_APART) {
                        return None;
                    }
                }
                Some(fault)
            }
        }
    }

    fn by_chance(&self, options: &Options, rng: &Rng, operation: Operation) -> Option<StoreFault> {
        let mut dice = rng.below(1_000_000);
        for (fault, ppm) in &options.store_ppm {
            if !fits(*fault, operation) {
                continue;
            }
            if dice < *ppm {
                return Some(*fault);
            }
            dice -= ppm;
        }
        None
    }
}
