//! esker-fetch
