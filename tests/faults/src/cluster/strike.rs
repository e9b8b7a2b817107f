//! What is done to a process: killed, stopped, cut off in one of several ways.

use anyhow::Context as _;
use esker_testkit::End;
use rustix::process::Signal;
use serde::Serialize;

use super::members::{Cluster, Role};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// `kill -9`, started again at once when others have taken over.
    Kill,
    /// SIGSTOP beyond every deadline, then SIGCONT.
    Stop,
    /// A cut of the network.
    Cut,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Kill, Self::Stop, Self::Cut];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::Stop => "SIGSTOP",
            Self::Cut => "cut",
        }
    }
}

/// Which line is cut, seen from the process that is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// Its cable.
    Everything,
    /// To and from the store.
    Store,
    /// To and from metadata processes.
    Metadata,
    /// Metadata processes do not hear it: requests are lost.
    MetadataDeaf,
    /// It does not hear metadata processes: replies and feeds are lost.
    MetadataMute,
    /// To and from clients.
    Clients,
    /// To and from the other metadata process.
    Standby,
    /// To and from processes that take clients.
    Pods,
    /// Those processes do not hear it: replies and feeds are lost.
    PodsDeaf,
    /// It does not hear those processes: requests are lost.
    PodsMute,
}

impl Line {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::Store => "store",
            Self::Metadata => "metadata",
            Self::MetadataDeaf => "to metadata only",
            Self::MetadataMute => "from metadata only",
            Self::Clients => "clients",
            Self::Standby => "standby",
            Self::Pods => "pods",
            Self::PodsDeaf => "to pods only",
            Self::PodsMute => "from pods only",
        }
    }

    /// Whether others can do the work of the process meanwhile, so that acknowledgements flow: not
    /// while a leader keeps its lead that pods or the store cannot hear.
    pub(crate) fn leaves_work_to_others(self, role: Role) -> bool {
        role != Role::Metadata || matches!(self, Self::Everything | Self::Standby)
    }

    /// In the order of rounds; the first ones are what every change runs.
    pub(crate) fn of(role: Role) -> &'static [Self] {
        match role {
            Role::Ingest => &[
                Self::MetadataMute,
                Self::Everything,
                Self::Clients,
                Self::Metadata,
                Self::Store,
                Self::MetadataDeaf,
            ],
            Role::Fetch => &[
                Self::MetadataMute,
                Self::Everything,
                Self::Metadata,
                Self::Store,
                Self::MetadataDeaf,
                Self::Clients,
            ],
            Role::Metadata => &[
                Self::Everything,
                Self::PodsDeaf,
                Self::Store,
                Self::Pods,
                Self::Standby,
                Self::PodsMute,
            ],
        }
    }

    /// The one of this round.
    pub(crate) fn of_round(role: Role, round: u32) -> anyhow::Result<Self> {
        let all = Self::of(role);
        let turn = usize::try_from(round)? % all.len();
        all.get(turn).copied().context("a line")
    }
}

/// Begins a fault. A kill has no end.
pub(crate) fn begin(
    cluster: &mut Cluster,
    place: usize,
    kind: Kind,
    line: Line,
) -> anyhow::Result<()> {
    let member = cluster.member(place)?;
    match kind {
        Kind::Kill => member.process.kill9(),
        Kind::Stop => member.process.signal(Signal::STOP),
        Kind::Cut => {
            let host = member.host;
            cut(cluster, host, line)
        }
    }
}

/// Ends a fault.
pub(crate) fn end(cluster: &mut Cluster, place: usize, kind: Kind) -> anyhow::Result<()> {
    match kind {
        Kind::Kill => cluster.member(place)?.restart(),
        Kind::Stop => cluster.member(place)?.process.signal(Signal::CONT),
        Kind::Cut => cluster.network.heal(),
    }
}

fn cut(cluster: &mut Cluster, host: usize, line: Line) -> anyhow::Result<()> {
    let metadata = cluster.others(host, &[Role::Metadata]);
    let pods = cluster.others(host, &[Role::Ingest, Role::Fetch]);
    let store = cluster.store_end();
    let here = End::Host(host);
    let network = &mut cluster.network;
    match line {
        Line::Everything => network.unplug(host),
        Line::Store => network.cut(here, store),
        Line::Clients => network.cut(here, End::Test),
        Line::Metadata | Line::Standby => metadata
            .into_iter()
            .try_for_each(|end| network.cut(here, end)),
        Line::MetadataDeaf => {
            let mut all = metadata.into_iter();
            all.try_for_each(|end| network.silence(here, end))
        }
        Line::MetadataMute => {
            let mut all = metadata.into_iter();
            all.try_for_each(|end| network.silence(end, here))
        }
        Line::Pods => pods.into_iter().try_for_each(|end| network.cut(here, end)),
        Line::PodsDeaf => pods
            .into_iter()
            .try_for_each(|end| network.silence(here, end)),
        Line::PodsMute => pods
            .into_iter()
            .try_for_each(|end| network.silence(end, here)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ten_rounds_cut_every_line_of_every_role() {
        for role in Role::ALL {
            let cut: BTreeSet<Line> = (0..10)
                .map(|round| Line::of_round(role, round).unwrap())
                .collect();

            assert_eq!(cut.len(), Line::of(role).len());
        }
    }
}
