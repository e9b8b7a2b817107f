//! Why a command failed, in words, and as a number for scripts.
//!
//! A failure says what was tried, what happened, and what to do next.

use std::error::Error;
use std::io;
use std::io::Write as _;
use std::process::ExitCode;

use esker_audit::RebuildError;
use esker_env::TaskFailure;
use esker_journal::ReplaceError;
use esker_kafka::KafkaError;
use esker_kafka::client::ClientError;
use esker_kafka::messages::{ApiKey, StrBytes};
use esker_record::{BatchError, BuildError, RecordError};

use super::paint::{Paint, Tone};

/// Exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All was done.
    Done = 0,
    /// Something failed.
    Failed = 1,
    /// The arguments make no sense; clap's own code as well.
    Usage = 2,
    /// No broker answered.
    Unreachable = 3,
    /// The topic, partition or group does not exist.
    NotFound = 4,
    /// It exists already, or is in use.
    Conflict = 5,
}

/// What happened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot read the input")]
    Input(#[source] io::Error),
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    #[error("a line has more than {bytes_max} bytes")]
    Line { bytes_max: usize },
    #[error("line {number} of the input is not what was announced: {wanted}")]
    BadLine { number: u64, wanted: &'static str },
    #[error("{wanted}")]
    Wanted { wanted: &'static str },
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Records(#[from] RecordError),
    #[error("the group is in use, active members: {member_count}")]
    Members { member_count: usize },
    #[error("the topic has partitions 0 to {last}")]
    Partition { last: i32 },
    #[error("no such group")]
    NoGroup,
    #[error("nothing was committed")]
    NoOffsets,
    #[error("the broker's answer leaves out what was asked for")]
    Unanswered,
    #[error(transparent)]
    Task(#[from] TaskFailure),
    #[error("interrupted")]
    Interrupted,
    #[error("not confirmed")]
    Unconfirmed,
    #[error("{what}")]
    Findings { what: String },
    /// A bucket could not be looked at, which says nothing about it.
    #[error("{what}")]
    Unreadable { what: String },
    #[error(transparent)]
    Rebuild(#[from] Box<RebuildError>),
}

/// A command that did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[error("{tried}: {cause}")]
pub(crate) struct Failure {
    tried: String,
    #[source]
    cause: Cause,
    advice: Option<String>,
}

impl Failure {
    pub(crate) fn new(tried: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self {
            tried: tried.into(),
            cause: cause.into(),
            advice: None,
        }
    }

    pub(crate) fn client(tried: impl Into<String>, error: ClientError) -> Self {
        Self::new(tried, Cause::Client(error))
    }

    /// A failure to write to stdout.
    pub(crate) fn output(error: io::Error) -> Self {
        Self::new("write to stdout", Cause::Output(error))
    }

    /// A code in a response.
    pub(crate) fn refused(
        tried: impl Into<String>,
        api: ApiKey,
        code: i16,
        message: Option<StrBytes>,
    ) -> Self {
        let error = match KafkaError::from_code(code) {
            Some(error) => ClientError::Kafka {
                api,
                error,
                message,
            },
            None => ClientError::UnknownCode { api, code },
        };
        Self::client(tried, error)
    }

    /// Replaces the general advice.
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    pub(crate) fn code(&self) -> Option<KafkaError> {
        match &self.cause {
            Cause::Client(error) => error.code(),
            _ => None,
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match &self.cause {
            Cause::Client(error) => exit_of(error),
            Cause::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Cause::Members { .. } => Exit::Conflict,
            // Nothing was looked at: told apart from a bucket in which something was found.
            Cause::Wanted { .. } | Cause::Unreadable { .. } => Exit::Usage,
            Cause::Rebuild(error) if is_conflict(error) => Exit::Conflict,
            Cause::Partition { .. } | Cause::NoGroup | Cause::NoOffsets => Exit::NotFound,
            _ => Exit::Failed,
        }
    }

    /// Whether there is nobody to tell: the reader of stdout has seen enough.
    fn is_quiet(&self) -> bool {
        self.exit() == Exit::Done
    }

    fn advice(&self) -> Option<&str> {
        self.advice.as_deref().or_else(|| match &self.cause {
            Cause::Client(error) => advice_on(error),
            Cause::Line { .. } => Some("split the input into shorter lines"),
            Cause::Members { .. } => Some("stop the members first, then try again"),
            Cause::NoGroup => Some("esker group list shows which groups there are"),
            Cause::Partition { .. } => Some("esker topic describe shows which there are"),
            Cause::BadLine { .. } | Cause::Wanted { .. } => {
                Some("--input, --key-format, --value-format and --header-format say what is read")
            }
            Cause::Input(_) => Some("check the path, and that this user may read it"),
            Cause::Output(_) => Some("make room where the output goes, or write it elsewhere"),
            Cause::NoOffsets => Some("esker offsets group shows what a group has committed"),
            Cause::Unanswered => Some("the broker is odd: try another, or a newer one"),
            Cause::Batch(_) | Cause::Records(_) => {
                Some("the record batch is damaged: esker consume --from reads behind it")
            }
            Cause::Build(_) => Some("send smaller records"),
            Cause::Interrupted | Cause::Unconfirmed => Some("run it again when you are ready"),
            Cause::Task(_) => Some("this is a mistake in esker: please report it"),
            Cause::Unreadable { .. } => {
                Some("check --store, its prefix and the credentials; esker doctor examines them")
            }
            Cause::Findings { .. } | Cause::Rebuild(_) => None,
        })
    }
}

/// The bucket is in use, or needs no rebuild.
fn is_conflict(error: &RebuildError) -> bool {
    match error {
        RebuildError::Sound | RebuildError::LeaderAlive { .. } | RebuildError::InUse { .. } => true,
        RebuildError::Journal(source) => matches!(source, ReplaceError::InUse { .. }),
        RebuildError::Audit(_)
        | RebuildError::Lost { .. }
        | RebuildError::OffsetTaken { .. }
        | RebuildError::Seal(_)
        | RebuildError::Cluster(_) => false,
    }
}

fn exit_of(error: &ClientError) -> Exit {
    match error {
        ClientError::BadAddress { .. } => Exit::Usage,
        ClientError::UnknownBroker { .. } => Exit::NotFound,
        ClientError::Unreachable { .. }
        | ClientError::Closed { .. }
        | ClientError::NoAnswer { .. } => Exit::Unreachable,
        ClientError::Kafka { error, .. } => match error {
            KafkaError::UnknownTopicOrPartition
            | KafkaError::UnknownTopicId
            | KafkaError::GroupIdNotFound
            | KafkaError::ResourceNotFound => Exit::NotFound,
            KafkaError::TopicAlreadyExists
            | KafkaError::NonEmptyGroup
            | KafkaError::GroupSubscribedToTopic
            | KafkaError::UnknownMemberId
            | KafkaError::RebalanceInProgress => Exit::Conflict,
            _ => Exit::Failed,
        },
        _ => Exit::Failed,
    }
}

fn advice_on(error: &ClientError) -> Option<&'static str> {
    match error {
        ClientError::BadAddress { .. } => Some("write it as 127.0.0.1:9092 or [::1]:9092"),
        ClientError::Unreachable { .. } => {
            Some("start a broker with esker serve, or name another with --bootstrap")
        }
        ClientError::Closed { .. } => {
            Some("is it a Kafka listener without TLS? its log may say why it closed")
        }
        ClientError::NoAnswer { .. } => Some("look at the broker's log and health"),
        ClientError::UnknownBroker { .. } => {
            Some("the cluster names no such broker: is it running, and advertised?")
        }
        ClientError::Unsupported { .. } => {
            Some("the broker is too old for it, or does not have it: upgrade the broker")
        }
        ClientError::Kafka { error, .. } => match error {
            KafkaError::UnknownTopicOrPartition => {
                Some("esker topic list shows which topics there are")
            }
            KafkaError::TopicAlreadyExists => Some("esker topic describe shows what it is like"),
            KafkaError::MessageTooLarge => {
                Some("send smaller records, or raise the topic's max.message.bytes")
            }
            KafkaError::InvalidTopicException => {
                Some("use up to 249 letters, digits, dots, dashes and underscores")
            }
            KafkaError::GroupIdNotFound => Some("esker group list shows which groups there are"),
            KafkaError::UnknownMemberId | KafkaError::NonEmptyGroup => {
                Some("stop the group's members first, then try again")
            }
            KafkaError::GroupSubscribedToTopic => {
                Some("stop the members that read the topic first, then try again")
            }
            KafkaError::InvalidConfig => {
                Some("esker config describe --all shows which configs there are")
            }
            error if error.is_retriable() => {
                Some("this passes: try again; look at the broker's log")
            }
            _ => Some("the broker's log may say more"),
        },
        ClientError::Malformed { .. }
        | ClientError::Incomplete { .. }
        | ClientError::UnknownCode { .. } => {
            Some("is it a Kafka broker? its log may say what it meant")
        }
    }
}

/// The failure as people read it: one line of what and why, one of what to do.
fn describe(failure: &Failure, paint: Paint) -> String {
    let mut text = format!("esker: cannot {failure}");
    let mut source = failure.cause.source();
    while let Some(error) = source {
        let words = error.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = error.source();
    }
    let text = paint.tone(Tone::Bad, &text);
    match failure.advice() {
        Some(advice) => format!("{text}\n  to do: {advice}"),
        None => text,
    }
}

/// An error and everything behind it; causes that were told already are left out.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let told = cause.to_string();
        if !text.contains(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        source = cause.source();
    }
    text
}

/// Says a line to the person at the terminal. A closed stderr is nobody's concern.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Tells what went wrong and gives the process's exit code.
pub(crate) fn report(outcome: Result<(), Failure>, paint: Paint) -> ExitCode {
    let exit = match outcome {
        Ok(()) => Exit::Done,
        Err(failure) => {
            if !failure.is_quiet() {
                say(&describe(&failure, paint));
            }
            failure.exit()
        }
    };
    ExitCode::from(exit.code())
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::NotFound => 4,
            Self::Conflict => 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kafka(error: KafkaError) -> Failure {
        Failure::refused("try it", ApiKey::Metadata, error.code(), None)
    }

    #[test]
    fn each_kind_of_failure_has_its_exit_code() {
        let address = || esker_kafka::client::Address::parse("127.0.0.1:1").unwrap();
        let unreachable = ClientError::Unreachable {
            address: address(),
            source: io::ErrorKind::ConnectionRefused.into(),
        };
        let given = "nowhere".to_owned();
        let bad = ClientError::BadAddress { given };

        assert_eq!(kafka(KafkaError::InvalidConfig).exit().code(), 1);
        assert_eq!(Failure::client("connect", bad).exit().code(), 2);
        assert_eq!(Failure::client("connect", unreachable).exit().code(), 3);
        assert_eq!(kafka(KafkaError::UnknownTopicOrPartition).exit().code(), 4);
        assert_eq!(Failure::new("reset", Cause::NoGroup).exit().code(), 4);
        assert_eq!(kafka(KafkaError::TopicAlreadyExists).exit().code(), 5);
        let members = Cause::Members { member_count: 2 };
        assert_eq!(Failure::new("reset", members).exit().code(), 5);
    }

    #[test]
    fn a_closed_pipe_is_no_failure_and_a_full_disk_is_one() {
        let closed = Failure::output(io::ErrorKind::BrokenPipe.into());
        let full = Failure::output(io::ErrorKind::StorageFull.into());

        assert!(closed.is_quiet());
        assert_eq!(closed.exit(), Exit::Done);
        assert_eq!(full.exit(), Exit::Failed);
    }

    #[test]
    fn a_failure_says_what_was_tried_what_happened_and_what_to_do() {
        let code = KafkaError::UnknownTopicOrPartition.code();
        let failure = Failure::refused("find topic orders", ApiKey::Metadata, code, None);

        let text = describe(&failure, Paint::Plain);

        assert_eq!(
            text,
            "esker: cannot find topic orders: Metadata failed with UNKNOWN_TOPIC_OR_PARTITION (3)\
             \n  to do: esker topic list shows which topics there are"
        );
    }

    #[test]
    fn the_operating_systems_words_are_told_too() {
        let full = Failure::output(io::Error::other("disk on fire"));

        assert_eq!(
            describe(&full, Paint::Plain),
            "esker: cannot write to stdout: cannot write the output: disk on fire\
             \n  to do: make room where the output goes, or write it elsewhere"
        );
    }
}
