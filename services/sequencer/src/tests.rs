//! Claims about the sequencer, by stage, and random histories against a model of the protocol.

mod appends;
mod checkpoint;
mod decide;
mod harness;
mod histories;
mod index;
mod model;
mod producers;
mod recover;
mod reserve;
mod seal;
mod speed;
mod state;
