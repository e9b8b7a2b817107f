//! Nothing: this package only pins two crates.
