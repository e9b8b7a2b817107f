//! esker-tidy
