//! Reads a partition from its beginning to its end at one process, and notes what was there.

use std::time::Duration;

use anyhow::Context as _;
use esker_e2e::load::Connection;
use esker_env::{Env, timeout};
use esker_history::format::{Digest, Isolation, Note, Whole};

use crate::asker::end_of;
use crate::reader::{PodAddress, Reader};
use crate::recorder::{Recorder, key};

/// A reading must come to its end within this.
const READ_WITHIN: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(100);

/// `is_last` when it is the last reading of all. Every reading of the same offsets must have the
/// same digest, whichever process was read.
///
/// # Errors
/// The end is not reached in time, or the process says what no reader may be told.
pub(crate) async fn read_to_end(
    recorder: &Recorder,
    topic: &str,
    address: &PodAddress,
    partition: i32,
    is_last: bool,
) -> anyhow::Result<()> {
    let clock = Env::system().clock;
    let reading = Box::pin(read(recorder, topic, address, partition, is_last));
    let read = timeout(clock.as_ref(), READ_WITHIN, reading).await;
    read.with_context(|| format!("the last reading of {topic}-{partition} at {}", address.0))?
}

async fn read(
    recorder: &Recorder,
    topic: &str,
    address: &PodAddress,
    partition: i32,
    is_last: bool,
) -> anyhow::Result<()> {
    let clock = Env::system().clock;
    let end = loop {
        match end_of(recorder, topic, address, partition).await {
            Ok(end) => break end,
            Err(_) => clock.sleep(PAUSE).await,
        }
    };
    let mut reader = Reader::new(recorder, topic, &[partition], is_last);
    while reader.position(partition) < end {
        match Connection::open(address.1).await {
            Ok(mut connection) => {
                while reader.position(partition) < end
                    && reader.poll(&address.0, &mut connection).await?
                {}
            }
            Err(_) => clock.sleep(PAUSE).await,
        }
    }
    let key = key(topic, partition);
    let reached = reader.position(partition);
    if let Some(hash) = reader.hashes.get(&partition) {
        recorder.note(Note::Digest(Digest {
            key: key.clone(),
            from: 0,
            to: reached,
            pod: address.0.clone(),
            hash: format!("{hash:016x}"),
        }));
    }
    if is_last {
        let iso = Isolation::Ru;
        recorder.note(Note::Whole(Whole { key, iso }));
    }
    Ok(())
}
