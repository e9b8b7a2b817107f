//! The client commands as people and scripts see them: help, tables, JSON, errors, terminals.
//!
//! What is printed is kept in `golden/`; `ESKER_UPDATE_GOLDEN=1` takes a new text over.

mod apache;
mod bench;
mod help;
mod sessions;
mod terminal;
mod transcript;
