//! What the journal's own tests from outside stand on: a state that lists numbers, processes with
//! faulty stores of their own over one bucket, and a bucket that watches what is deleted.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use esker_env::Env;
use esker_journal::{
    CommandError, Follower, Journal, JournalConfig, JournalIdentity, JournalParts, JournalState,
    OwnerId, ReplayError, check_object,
};
use esker_object::{
    Bucket, ListedObject, MemoryBucket, ObjectKey, ObjectRead, PutOutcome, ReadRange, StoreError,
};
use esker_types::{ClusterId, ObjectKind};
use futures::future::BoxFuture;

pub(crate) const CLUSTER: ClusterId = ClusterId::from_bytes([2; 16]);

/// Numbers in one part of a snapshot.
const NUMBERS_PER_PART: usize = 4;

/// A state that remembers the number of every command, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) list: Vec<u64>,
}

pub(crate) fn command(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn number(bytes: &[u8]) -> Result<u64, CommandError> {
    let bytes = bytes.try_into().map_err(|_| CommandError::Malformed)?;
    Ok(u64::from_be_bytes(bytes))
}

impl JournalState for Numbers {
    type Outcome = ();

    fn empty() -> Self {
        Self::default()
    }

    fn apply(&mut self, command: &Bytes) -> Result<(), CommandError> {
        self.list.push(number(command)?);
        Ok(())
    }

    fn snapshot(&self) -> Vec<Bytes> {
        let part = |chunk: &[u64]| {
            let bytes: Vec<u8> = chunk.iter().flat_map(|one| one.to_be_bytes()).collect();
            Bytes::from(bytes)
        };
        self.list.chunks(NUMBERS_PER_PART).map(part).collect()
    }

    fn restore(parts: &[Bytes]) -> Result<Self, CommandError> {
        let numbers = parts.iter().flat_map(|part| part.chunks(8)).map(number);
        let list = numbers.collect::<Result<_, _>>()?;
        Ok(Self { list })
    }
}

/// A bucket that notes each deletion of what must stay for ever: places 0, and seals that end a
/// roll. A stray seal on a collected place may go: a second collector's late deletion can meet it.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) memory: MemoryBucket,
    pub(crate) lost_for_ever: Arc<Mutex<Vec<ObjectKey>>>,
}

impl Watched {
    pub(crate) fn new() -> Self {
        Self {
            memory: MemoryBucket::new(),
            lost_for_ever: Arc::default(),
        }
    }
}

impl Watched {
    async fn read(&self, key: &ObjectKey) -> Result<Option<Bytes>, StoreError> {
        let read = self.memory.get(key, ReadRange::Full).await?;
        Ok(read.map(|read| read.bytes))
    }

    async fn must_stay(&self, key: &ObjectKey) -> Result<bool, StoreError> {
        let Some(bytes) = self.read(key).await? else {
            return Ok(false);
        };
        match check_object(CLUSTER, &bytes) {
            Ok(ObjectKind::JournalHead) => Ok(true),
            Ok(ObjectKind::JournalSeal) => {
                let mut numbers = key.as_str().rsplit('/').map(str::parse::<u64>);
                let place = numbers.next().unwrap().unwrap();
                let roll = numbers.next().unwrap().unwrap();
                let next = ObjectKey::journal_place(CLUSTER, roll + 1, 0);
                let verdict = self.read(&next).await?;
                // A verdict ends with the place and the write id of the seal that it names.
                let named = [&place.to_be_bytes()[..], &bytes[8..24]].concat();
                Ok(place == 0 || verdict.is_none_or(|verdict| verdict.ends_with(&named)))
            }
            Ok(_) | Err(_) => Ok(false),
        }
    }
}

impl Bucket for Watched {
    fn put_if_absent<'a>(&'a self, key: &'a ObjectKey, body: Bytes) -> BoxFuture<'a, PutOutcome> {
        self.memory.put_if_absent(key, body)
    }

    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        range: ReadRange,
    ) -> BoxFuture<'a, Result<Option<ObjectRead>, StoreError>> {
        self.memory.get(key, range)
    }

    fn head<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        self.memory.head(key)
    }

    fn list_after<'a>(
        &'a self,
        prefix: &'a ObjectKey,
        after: Option<&'a ObjectKey>,
        count_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ListedObject>, StoreError>> {
        self.memory.list_after(prefix, after, count_max)
    }

    fn delete<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            if self.must_stay(key).await? {
                self.lost_for_ever.lock().unwrap().push(key.clone());
            }
            self.memory.delete(key).await
        })
    }
}

/// Opens the journal under an owner id of its own.
pub(crate) async fn open(
    bucket: Arc<dyn Bucket>,
    env: &Env,
    address: &str,
    config: JournalConfig,
) -> Result<Follower<Numbers>, ReplayError> {
    let parts = JournalParts {
        bucket,
        env: env.clone(),
        cluster: CLUSTER,
    };
    let identity = JournalIdentity {
        owner: OwnerId::draw(&env.rng),
        address: address.to_owned(),
    };
    Journal::open(parts, identity, config).await
}
