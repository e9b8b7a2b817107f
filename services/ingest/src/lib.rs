//! esker-ingest
