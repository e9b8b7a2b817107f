//! A progress bar that hears of an audit's progress.

use std::sync::{Mutex, MutexGuard, PoisonError};

use esker_audit::Watch;

use crate::cli::Plainness;
use crate::cli::progress::{Progress, Total};

/// Draws a bar once it is known how much there is to do, a spinner until then.
#[derive(Debug)]
pub(super) struct Bar {
    plainness: Plainness,
    shown: Mutex<Shown>,
}

#[derive(Debug)]
struct Shown {
    progress: Option<Progress>,
    objects: u64,
    is_counted: bool,
}

impl Bar {
    pub(super) fn start(plainness: Plainness) -> Self {
        let progress = Some(Progress::start(plainness, true, Total::Objects));
        let shown = Shown {
            progress,
            objects: 0,
            is_counted: false,
        };
        Self {
            plainness,
            shown: Mutex::new(shown),
        }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        if let Some(progress) = self.shown().progress.take() {
            progress.clear();
        }
    }
}

impl Watch for Bar {
    fn expect(&self, bytes: u64) {
        self.clear();
        let mut shown = self.shown();
        shown.is_counted = true;
        shown.progress = Some(Progress::start(self.plainness, true, Total::Bytes(bytes)));
    }

    fn done(&self, objects: u64, bytes: u64) {
        let mut shown = self.shown();
        shown.objects = shown.objects.saturating_add(objects);
        let (count, is_counted) = (shown.objects, shown.is_counted);
        if let Some(progress) = &shown.progress {
            progress.message(|| match is_counted {
                true => format!("{count} objects"),
                false => String::new(),
            });
            progress.advance(if is_counted { bytes } else { objects });
        }
    }
}
