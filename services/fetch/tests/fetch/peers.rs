//! Fetch over blocks that other processes gave: as good as the bucket's, damaged ones never served.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use esker_cache::{BlockId, BlockPeers, Heat};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::world::{World, Write, at, offset, offsets_of, plain};

/// An owner of every block, which gives what it is told to.
#[derive(Debug, Default)]
struct Owner {
    object: Mutex<Option<Bytes>>,
    asked: Mutex<u32>,
}

impl BlockPeers for Owner {
    fn owner_is_elsewhere(&self, _: BlockId) -> bool {
        true
    }

    fn of_owner(&self, _: BlockId, _: Heat) -> BoxFuture<'_, Option<Bytes>> {
        *self.asked.lock().unwrap() += 1;
        let object = self.object.lock().unwrap().clone();
        async move { object }.boxed()
    }

    fn of_writer(&self, _: BlockId) -> BoxFuture<'_, Option<Bytes>> {
        async { None }.boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn blocks_of_another_process_are_served_and_damaged_ones_are_read_from_the_bucket() {
    let owner = Arc::new(Owner::default());
    let mut world = World::among(owner.clone()).await;
    for partition in 0..3 {
        let placed = [(at(partition), offset(0), plain(5, 1000))];
        let object = world.write(Write::Elsewhere, &placed).await.object;
        let given = match partition {
            0 => object,
            // A bit of a record, and an answer that ends too early.
            1 => {
                let mut damaged = object.to_vec();
                damaged[300] ^= 1;
                damaged.into()
            }
            _ => object.slice(..200),
        };
        *owner.object.lock().unwrap() = Some(given);

        let reply = world.fetch_one(partition, 0).await;

        assert_eq!(reply.error.code(), 0, "{partition}");
        assert_eq!(offsets_of(&reply.records), [0, 1, 2, 3, 4], "{partition}");
        assert_eq!(world.gets(), usize::try_from(partition).unwrap());
        assert_eq!(*owner.asked.lock().unwrap(), partition + 1);
    }

    let stats = world.fetch.stats();
    assert_eq!((stats.read_again, stats.given_up), (2, 0));
    world.end().await;
}
