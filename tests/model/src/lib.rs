//! The commit protocol and the journal as models, searched to their end (docs/model.md).
//!
//! Invariants: CP1 to CP9, CP12, CP16 to CP18, C2, D3, D4 and J2 to J5, J7, J8 in every state that
//! can be reached; each planted bug breaks one of them. Limits: the arrays of `chain/state.rs` (3
//! sequencers, 2 pods, 4 sessions, 3 places, 3 batches, 10 offsets) and `journal/state.rs` (3
//! processes, 4 rolls, 5 places, 3 commands), the bounds of the `scenario.rs` files. Cost: some
//! 70 000 states a second and thread, 100 bytes a state; the small scenarios 2 million states.
//! Pure: no clock but to tell how long it took.

pub mod chain;
pub mod journal;
mod search;

pub use search::{Bounds, Broken, Found, search, search_clean, search_planted};
