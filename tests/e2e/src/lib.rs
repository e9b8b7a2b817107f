//! esker-e2e
