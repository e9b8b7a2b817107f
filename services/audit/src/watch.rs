//! Tells somebody how far an audit has come.

use std::fmt::Debug;

/// Hears of progress. Called often: it must be quick.
pub trait Watch: Debug + Send + Sync {
    /// So many bytes more are to be looked at, about.
    fn expect(&self, bytes: u64);

    /// So many objects more were looked at, of so many bytes.
    fn done(&self, objects: u64, bytes: u64);
}

/// Nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Watch for Silent {
    fn expect(&self, _bytes: u64) {}

    fn done(&self, _objects: u64, _bytes: u64) {}
}
