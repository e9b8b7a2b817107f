//! esker-record
