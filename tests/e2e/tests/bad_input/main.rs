//! What goes wrong at the hands of people, clients and stores: each gets a clear answer.
//!
//! The process refuses to start with a reason that says what to do, or lives and serves others.

mod directory;
mod faulty_store;
mod full_disk;
mod hostile;
mod refusals;
mod settings;
mod stores;
