//! esker-http
