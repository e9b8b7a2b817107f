//! esker-journal
