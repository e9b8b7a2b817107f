//! esker-cache
