//! `esker rebuild`: a new journal from the segments, when the old one is lost or damaged.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use esker_audit::{RebuildError, RebuildPlan, RebuildReport};
use esker_env::Env;
use esker_metadata::TopicOrigin;
use esker_object::RequestMeter;
use serde::Serialize;

use super::bar::Bar;
use super::report::{FORMAT, FigureLine, RequestLine, TopicLine, requests_of};
use super::{Look, open, topics, unreadable};
use crate::cli::exit::{Cause, Failure};
use crate::cli::paint::{Paint, Tone};
use crate::cli::show::{Column, Row, Show, left, right, show, table_of};
use crate::config::ServeConfig;
use crate::leader_probe::HttpProbe;
use crate::store::Access;

/// What no segment tells. Each is a sentence of the report.
const UNKNOWABLE: [&str; 5] = [
    "topics that only segments know have a name made of their id; rename by creating and copying, \
     or rebuild with --topics",
    "topics that were deleted may be back, and records below a log start that was moved",
    "committed offsets of groups that the old journal does not tell are gone: consumers begin \
     where auto.offset.reset says",
    "settings of topics and brokers that the old journal does not tell have their defaults",
    "producer ids go on far above all that were seen; idempotent producers that wrote are known",
];

// No doc comment: clap would make it the help of the command.
#[derive(Args, Clone, Debug)]
pub(crate) struct RebuildArguments {
    #[command(flatten)]
    look: Look,
    /// Read and tell what would be done; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Rebuild a journal that is sound
    #[arg(long)]
    force: bool,
    /// Go on without segments that are missing or cannot be read
    #[arg(long)]
    accept_loss: bool,
    /// Names of topics by id: a report of `esker verify -o json`, or its list of topics
    #[arg(long, value_name = "FILE")]
    topics: Option<PathBuf>,
}

impl RebuildArguments {
    pub(crate) fn look(&self) -> &Look {
        &self.look
    }
}

#[derive(Debug, Serialize)]
struct RebuiltLine {
    #[serde(flatten)]
    topic: TopicLine,
    origin: &'static str,
}

impl Row for RebuiltLine {
    const COLUMNS: &'static [Column<Self>] = &[
        left("TOPIC", |line| line.topic.name.clone()),
        right("PARTITIONS", |line| line.topic.partitions.to_string()),
        left("NAME FROM", |line| line.origin.to_owned()),
        left("ID", |line| line.topic.id.clone()),
    ];
}

/// The report of `esker rebuild`.
#[derive(Debug, Serialize)]
struct RebuiltReport {
    format: u32,
    command: &'static str,
    cluster_id: String,
    dry_run: bool,
    cluster_file_missing: bool,
    roll: Option<u64>,
    epoch: u64,
    topics: Vec<RebuiltLine>,
    figures: std::collections::BTreeMap<&'static str, u64>,
    producer_id_next: i64,
    old_snapshot_roll: Option<u64>,
    not_known: Vec<&'static str>,
    requests: Vec<RequestLine>,
    seconds: f64,
    #[serde(skip)]
    lines: Vec<FigureLine>,
}

fn figure_lines(report: &RebuildReport) -> Vec<FigureLine> {
    let rows = [
        ("sessions", report.sessions),
        ("sessions_open", report.sessions_open),
        ("segments", report.segments),
        ("extents", report.extents),
        ("partitions", report.partitions),
        ("void_segments", report.void_segments),
        ("lost_segments", report.lost_segments),
        ("overlapping_segments", report.overlapping_segments),
        ("groups", u64::try_from(report.groups).unwrap_or(u64::MAX)),
        ("old_commands", report.old_commands),
        ("old_unreadable", report.old_unreadable),
    ];
    let line = |(name, value)| FigureLine { name, value };
    rows.into_iter().map(line).collect()
}

impl RebuiltReport {
    fn of(report: &RebuildReport, meter: &RequestMeter, seconds: f64) -> Self {
        let lines = figure_lines(report);
        let topics = report.topics.iter().map(|rebuilt| RebuiltLine {
            topic: TopicLine::of(&rebuilt.topic),
            origin: match rebuilt.origin {
                TopicOrigin::Journal => "journal",
                TopicOrigin::Given => "given",
                TopicOrigin::Derived => "derived",
            },
        });
        Self {
            format: FORMAT,
            command: "rebuild",
            cluster_id: report.cluster.to_hex(),
            dry_run: report.is_dry,
            cluster_file_missing: report.cluster_file_missing,
            roll: report.roll,
            epoch: report.epoch.get(),
            topics: topics.collect(),
            figures: lines.iter().map(|line| (line.name, line.value)).collect(),
            producer_id_next: report.producer_id_next,
            old_snapshot_roll: report.old_snapshot_roll,
            not_known: UNKNOWABLE.to_vec(),
            requests: requests_of(meter),
            seconds,
            lines,
        }
    }
}

impl Show for RebuiltReport {
    fn text(&self, paint: Paint) -> String {
        let mut text = table_of(&self.topics, paint);
        text.push('\n');
        text.push_str(&table_of(&self.lines, paint));
        text.push('\n');
        text.push_str(&table_of(&self.requests, paint));
        text.push_str("\nwhat segments do not tell:\n");
        for sentence in &self.not_known {
            text.push_str(&format!("- {sentence}\n"));
        }
        let words = match (self.roll, self.dry_run) {
            (Some(roll), _) => format!("the journal begins again at roll {roll}; start esker"),
            (None, true) => "nothing was written: --dry-run".to_owned(),
            (None, false) => "cluster.json was written again; the journal is sound".to_owned(),
        };
        text.push_str(&format!("\n{}\n", paint.tone(Tone::Good, &words)));
        text
    }
}

fn failed(error: RebuildError) -> Failure {
    let advice = match &error {
        RebuildError::Audit(_) => "look at the store, then run it again",
        RebuildError::Sound => "start esker; --force rebuilds it nevertheless",
        RebuildError::Lost { .. } => {
            "bring the objects back from versions or a replica; --accept-loss goes on without them"
        }
        RebuildError::OffsetTaken { .. } => {
            "esker verify tells which objects are not what they were; --accept-loss leaves one out"
        }
        RebuildError::LeaderAlive { .. } | RebuildError::InUse { .. } => {
            "stop all esker processes of this bucket, then run it again with --force"
        }
        RebuildError::Seal(_) | RebuildError::Cluster(_) | RebuildError::Journal(_) => {
            "nothing was deleted; stop all esker processes of this bucket and run it again"
        }
    };
    Failure::new("rebuild the journal", Cause::Rebuild(Box::new(error))).advise(advice)
}

/// Rebuilds and shows what was done.
///
/// # Errors
/// No journal was begun.
pub(crate) async fn run(
    arguments: RebuildArguments,
    config: &ServeConfig,
    env: Env,
) -> Result<(), Failure> {
    let started = env.clock.now();
    let given = match &arguments.topics {
        Some(path) => topics::read(path).map_err(|error| unreadable("read --topics", &error))?,
        None => Vec::new(),
    };
    let plan = RebuildPlan {
        is_dry: arguments.dry_run,
        forces: arguments.force,
        accepts_loss: arguments.accept_loss,
        given,
    };
    let access = match plan.is_dry {
        true => Access::Read,
        false => Access::Write,
    };
    let opened = open(config, access, &env).await;
    let opened = opened.map_err(|error| unreadable("open the bucket", &error))?;
    let probe = HttpProbe::new(Arc::clone(&env.clock));
    let look = arguments.look;
    let bar = Bar::start(look.plainness);
    let rebuilt = esker_audit::rebuild(&opened.parts, &plan, &probe, &bar);
    let rebuilt = Box::pin(rebuilt).await;
    bar.clear();
    let rebuilt = rebuilt.map_err(failed)?;
    let seconds = env.clock.now().since(started).as_secs_f64();
    let shown = RebuiltReport::of(&rebuilt, &opened.bucket.meter, seconds);
    show(look.output, look.plainness, &shown)
}
