//! Panics of a run's tasks: an assertion of the product that fails is a finding.

use std::cell::RefCell;
use std::sync::Once;

std::thread_local! {
    static CAUGHT: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Watches the calling thread.
#[derive(Debug)]
pub(crate) struct Panics;

impl Panics {
    pub(crate) fn watch() -> Self {
        HOOK.call_once(|| {
            let other = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                let taken = CAUGHT.with_borrow_mut(|caught| match caught {
                    Some(caught) => {
                        if caught.len() < 20 {
                            caught.push(info.to_string());
                        }
                        true
                    }
                    None => false,
                });
                if !taken {
                    other(info);
                }
            }));
        });
        CAUGHT.set(Some(Vec::new()));
        Self
    }

    /// What was caught; the thread is watched no more.
    pub(crate) fn taken(self) -> Vec<String> {
        CAUGHT.take().unwrap_or_default()
    }
}
