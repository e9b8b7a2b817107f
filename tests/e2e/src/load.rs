//! Load for the black-box tests: connections with several requests in flight, producers that write
//! down what they were told, a reader, and the comparison of a log with all that was told.

mod connection;
mod history;
mod port;
mod producer;
mod reader;
mod requests;
mod witness;

pub use connection::{Connection, Receiving, Sending};
pub use history::{Batch, Figures, History, Told, compare};
pub use port::lasting_port;
pub use producer::{ProducerKind, ProducerPlan, produce, produce_before};
pub use reader::{Log, Tail, follow, read_all};
pub use requests::{
    BatchOwner, PRODUCE_VERSION, batch_of, metric, padded, produce_request, retried,
};
pub use witness::{SentBatch, Witness};
