//! What each row does. Its checks are the common ones of `Scene::finish` and those it makes itself.

mod clients;
mod handover;
mod host;
mod journal;
mod kills;
mod reads;
mod rebalance;
mod segments;
mod store;

use anyhow::bail;

use crate::scene::Scene;

/// Does what the row of that number says.
///
/// # Errors
/// Something that is required does not hold, or [`crate::outcome::CannotRun`].
pub(crate) async fn act(number: u32, scene: &mut Scene) -> anyhow::Result<()> {
    match number {
        0 => Box::pin(store::older_state(scene)).await,
        1 => Box::pin(kills::kill(scene)).await,
        2 => Box::pin(kills::stop_and_continue(scene)).await,
        3 => Box::pin(kills::drain(scene)).await,
        4 => Box::pin(kills::drain_without_store(scene)).await,
        5 => Box::pin(host::memory(scene)).await,
        6 => Box::pin(host::processor(scene)).await,
        8 => Box::pin(segments::reply_lost(scene)).await,
        9 => Box::pin(segments::late(scene)).await,
        10 => Box::pin(store::storm(scene)).await,
        11 => Box::pin(store::outage(scene)).await,
        12 => Box::pin(segments::cut(scene)).await,
        14 => Box::pin(store::credentials(scene)).await,
        19 => Box::pin(handover::kill_leaders(scene)).await,
        20 => Box::pin(handover::zombie(scene)).await,
        22 => Box::pin(handover::leader_without_store(scene)).await,
        23 => Box::pin(handover::cut_apart(scene)).await,
        24 => Box::pin(journal::replies(scene)).await,
        25 => Box::pin(journal::conflicts(scene)).await,
        26 => Box::pin(store::no_conditions(scene)).await,
        27 => Box::pin(journal::lists(scene)).await,
        29 => Box::pin(host::clock(scene)).await,
        31 => Box::pin(reads::cold_start(scene)).await,
        33 => Box::pin(reads::damaged(scene)).await,
        36 => Box::pin(clients::topic_again(scene)).await,
        37 => Box::pin(rebalance::leader_changes(scene)).await,
        38 => Box::pin(clients::silent_member(scene)).await,
        47 => Box::pin(clients::bad_line(scene)).await,
        50 => Box::pin(kills::everything(scene)).await,
        51 => Box::pin(handover::stop_leaders(scene)).await,
        53 => Box::pin(reads::grey_store(scene)).await,
        54 => Box::pin(reads::object_gone(scene)).await,
        55 => Box::pin(store::other_cluster(scene)).await,
        56 => Box::pin(host::read_only(scene)).await,
        57 => Box::pin(segments::seal_race(scene)).await,
        58 => Box::pin(segments::one_place(scene)).await,
        59 => Box::pin(segments::slow(scene)).await,
        60 => Box::pin(journal::registration(scene)).await,
        61 => Box::pin(kills::no_checkpoint(scene)).await,
        62 => Box::pin(segments::reserved_only(scene)).await,
        other => bail!("row {other} cannot be run"),
    }
}
