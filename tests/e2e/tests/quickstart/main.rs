//! What a newcomer does, with unmodified programs, on every store: everything here must just work.
//!
//! Apache Kafka's own tools, sarama, kcat and curl write and read the same records.

mod placement;
mod reading;
mod restarts;
mod script;
mod tools;

use esker_e2e::{StoreKind, TestStore};
use esker_testkit::EskerProcess;

/// An empty store and Esker on it.
async fn start(kind: StoreKind) -> anyhow::Result<(TestStore, EskerProcess)> {
    let store = TestStore::start(kind).await?;
    let esker = store.esker().await?;
    Ok((store, esker))
}

macro_rules! on_every_store {
    ($($claim:ident => $part:path;)*) => {
        mod on_a_directory {
            $(#[tokio::test]
            async fn $claim() -> anyhow::Result<()> {
                $part(esker_e2e::StoreKind::Directory).await
            })*
        }
        mod on_minio {
            $(#[tokio::test]
            async fn $claim() -> anyhow::Result<()> {
                $part(esker_e2e::StoreKind::Minio).await
            })*
        }
        mod on_seaweedfs {
            $(#[tokio::test]
            async fn $claim() -> anyhow::Result<()> {
                $part(esker_e2e::StoreKind::Seaweed).await
            })*
        }
    };
}

on_every_store! {
    the_tools_of_apache_kafka_work_unmodified => crate::tools::kafka_tools;
    sarama_creates_produces_and_consumes => crate::tools::sarama;
    kcat_reads_every_codec_back_byte_for_byte => crate::reading::codecs;
    curl_and_kcat_read_what_the_other_wrote => crate::reading::curl_and_kcat;
    every_offset_is_readable_warm_and_cold => crate::reading::every_offset;
    a_key_lands_where_apache_kafka_puts_it => crate::placement::placement;
    a_restart_keeps_the_cluster_and_is_quick => crate::restarts::restarts;
}
