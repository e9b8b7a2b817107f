//! Settling under every fault.
