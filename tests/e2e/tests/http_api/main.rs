//! The HTTP API of the real binary: streams, keys, conditions, groups, settings, Confluent's
//! endpoint, and schemathesis against the served description.

mod appends;
mod description;
mod misuse;
mod settings;
mod streams;

use esker_e2e::{HttpApi, StoreKind, TestStore};
use esker_testkit::EskerProcess;

/// An empty directory, Esker on it, and its API.
async fn start() -> anyhow::Result<(TestStore, EskerProcess, HttpApi)> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let esker = store.esker().await?;
    let api = HttpApi::new(esker.http);
    Ok((store, esker, api))
}
