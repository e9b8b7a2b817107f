//! esker-segment
