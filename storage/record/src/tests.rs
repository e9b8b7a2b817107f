//! Tests that cross the modules of this crate.

mod golden;
mod round_trip;
