//! The leader's side of J1 to J3, J8 and J9, fed by hand with the outcomes of its puts and looks.

use std::time::Duration;

use super::*;
use crate::fixtures::{CLUSTER, at};
use crate::identity::OwnerId;
use crate::object::{Decoded, JournalObject, decode};
use crate::writer::AppendTicket;

const LINGER: Duration = Duration::from_millis(1);

/// A pipeline with its clock, its questions and the tickets it has given.
struct Bench {
    pipeline: Pipeline,
    now: MonotonicTime,
    asked: u64,
    tickets: u64,
    rng: Rng,
}

fn config() -> JournalConfig {
    JournalConfig {
        linger: LINGER,
        ..JournalConfig::default()
    }
}

impl Bench {
    fn new(config: JournalConfig) -> Self {
        let author = Author {
            cluster: CLUSTER,
            identity: JournalIdentity {
                owner: OwnerId::from_bytes([7; 16]),
                address: "here".to_owned(),
            },
            epoch: SequencerEpoch::new(3),
        };
        let schedule = SnapshotSchedule::new(&config);
        let roll = RollNumber::new(4);
        Self {
            pipeline: Pipeline::new(author, roll, config, schedule),
            now: MonotonicTime::default(),
            asked: 0,
            tickets: 0,
            rng: Rng::from_seed(3),
        }
    }

    fn append(&mut self, command: &'static str) {
        self.pipeline.push(PendingCommand {
            ticket: AppendTicket(self.tickets),
            command: Bytes::from_static(command.as_bytes()),
            taken_at: self.now,
            room: None,
        });
        self.tickets += 1;
    }

    /// What is sent once the linger is over.
    fn sent(&mut self) -> Vec<Step> {
        self.now = self.now.after(LINGER);
        self.sent_now()
    }

    fn sent_now(&mut self) -> Vec<Step> {
        let next = || self.pipeline.next_step(self.now, self.asked, &self.rng);
        std::iter::from_fn(next).collect()
    }

    /// Appends one command and sends it as an entry of its own.
    fn send_entry(&mut self, command: &'static str) -> PlaceId {
        self.append(command);
        let steps = self.sent();
        match steps.as_slice() {
            [Step::Put { at, .. }] => *at,
            other => panic!("one entry is sent, not {other:?}"),
        }
    }

    fn ours(&mut self, place: PlaceId) -> Vec<String> {
        told(self.pipeline.settled(place, Holder::Ours))
    }

    fn looked(&mut self, place: PlaceId, found: Option<ObjectKind>) -> Vec<String> {
        told(self.pipeline.looked(place, found))
    }
}

fn told(effects: Vec<Effect>) -> Vec<String> {
    let told = effects.into_iter().map(|effect| match effect {
        Effect::Durable(pending) => {
            let command = String::from_utf8(pending.command.to_vec()).unwrap();
            format!("{} {command}", pending.ticket.get())
        }
        Effect::RollBegun { roll, snapshot_due } => format!("roll {roll} due {snapshot_due}"),
        Effect::Checked { answered } => format!("checked {answered}"),
        Effect::Ended(Ending::Deposed { at }) => format!("deposed {at}"),
        Effect::Ended(Ending::Foreign { at }) => format!("foreign {at}"),
    });
    told.collect()
}

fn put_object(step: &Step) -> (PlaceId, Decoded) {
    match step {
        Step::Put { at, object } => (*at, decode(CLUSTER, object).unwrap()),
        Step::Look { .. } => panic!("a look, not a put"),
    }
}

const STRANGERS_SEAL: Holder = Holder::Stranger(ObjectKind::JournalSeal);
const NOTHING: [&str; 0] = [];

#[test]
fn commands_that_come_within_the_linger_share_a_put() {
    let mut bench = Bench::new(config());
    bench.append("a");
    bench.append("b");
    assert!(bench.sent_now().is_empty(), "the linger is not over");
    assert_eq!(bench.pipeline.wake_at(), Some(bench.now.after(LINGER)));

    let steps = bench.sent();

    let [step] = steps.as_slice() else {
        panic!("one put for both: {steps:?}");
    };
    let (place, decoded) = put_object(step);
    assert_eq!(place, at(4, 1));
    let JournalObject::Entry(entry) = decoded.object else {
        panic!("not an entry");
    };
    assert_eq!(entry.commands, ["a", "b"]);
    assert_eq!(bench.ours(place), ["0 a", "1 b"]);
    assert_eq!(bench.pipeline.wake_at(), None);
}

#[test]
fn an_idle_leader_sends_nothing() {
    let mut bench = Bench::new(config());
    let place = bench.send_entry("a");
    let _ = bench.ours(place);

    bench.now = bench.now.after(Duration::from_secs(3600));

    assert!(bench.sent().is_empty());
    assert_eq!(bench.pipeline.wake_at(), None);
    assert!(bench.pipeline.is_idle());
}

#[test]
fn places_in_flight_are_bounded_from_the_first_that_is_not_durable() {
    let mut bench = Bench::new(config());
    let places: Vec<_> = ["a", "b", "c", "d"]
        .map(|command| bench.send_entry(command))
        .into();
    bench.append("e");
    assert!(bench.sent().is_empty(), "K is used up");

    // All but the first are there: the window does not move.
    for place in &places[1..] {
        assert_eq!(bench.ours(*place), NOTHING);
    }
    assert!(bench.sent().is_empty());
    assert_eq!(
        bench.pipeline.wake_at(),
        None,
        "waiting would change nothing"
    );

    assert_eq!(bench.ours(places[0]), ["0 a", "1 b", "2 c", "3 d"]);
    assert_eq!(bench.sent().len(), 1);
}

#[test]
fn durable_is_told_in_append_order_however_the_puts_return() {
    let mut bench = Bench::new(config());
    let places = ["a", "b", "c"].map(|command| bench.send_entry(command));

    assert_eq!(bench.ours(places[2]), NOTHING);
    assert_eq!(bench.ours(places[0]), ["0 a"]);
    assert_eq!(bench.ours(places[1]), ["1 b", "2 c"]);
}

#[test]
fn a_strangers_seal_is_no_success_and_ends_everything() {
    let mut bench = Bench::new(config());
    let places = ["a", "b", "c"].map(|command| bench.send_entry(command));
    bench.append("d");

    let told_then = told(bench.pipeline.settled(places[1], STRANGERS_SEAL));

    assert_eq!(told_then, ["deposed 4/2"]);
    // Place 1 was in fact written: its outcome stays unknown, nothing is answered any more.
    assert_eq!(bench.ours(places[0]), NOTHING);
    assert_eq!(bench.ours(places[2]), NOTHING);
    assert!(bench.sent().is_empty());
}

#[test]
fn anything_else_at_a_place_of_ours_stops_loudly() {
    for kind in [ObjectKind::JournalEntry, ObjectKind::Segment] {
        let mut bench = Bench::new(config());
        let place = bench.send_entry("a");

        let effects = bench.pipeline.settled(place, Holder::Stranger(kind));

        assert_eq!(told(effects), ["foreign 4/1"]);
    }
}

fn two_entries_a_roll() -> JournalConfig {
    JournalConfig {
        roll_entries_max: 2,
        ..config()
    }
}

#[test]
fn a_full_roll_is_sealed_in_its_turn_and_the_next_waits_for_its_head() {
    let mut bench = Bench::new(two_entries_a_roll());
    let first = bench.send_entry("a");
    bench.append("b");
    let steps = bench.sent();
    let [_, seal] = steps.as_slice() else {
        panic!("the last entry and the seal: {steps:?}");
    };
    let (seal_at, decoded) = put_object(seal);
    let JournalObject::Seal(object) = decoded.object else {
        panic!("not a seal");
    };
    assert_eq!((seal_at, object.prev), (at(4, 3), None));
    assert_eq!(
        object.next_leader.epoch,
        SequencerEpoch::new(3),
        "J9: our own epoch"
    );
    bench.append("c");

    // The seal is there, the entries below are not known to be: it does not count yet.
    assert_eq!(bench.ours(seal_at), NOTHING);
    assert!(bench.sent().is_empty(), "no head above an open entry");
    assert_eq!(bench.ours(at(4, 2)), NOTHING);
    assert!(bench.sent().is_empty());
    assert_eq!(bench.ours(first), ["0 a", "1 b"]);

    let steps = bench.sent();
    let [head] = steps.as_slice() else {
        panic!("only the head: {steps:?}");
    };
    let (head_at, decoded_head) = put_object(head);
    let JournalObject::Head(head) = decoded_head.object else {
        panic!("not a head");
    };
    let prev = head.prev.unwrap();
    assert_eq!((head_at, prev.place), (at(5, 0), seal_at.place));
    assert_eq!(prev.write_id, decoded.write_id, "the head names our seal");
    assert!(bench.sent().is_empty(), "no entry before the head is known");

    assert_eq!(bench.ours(head_at), ["roll 5 due false"]);
    let steps = bench.sent();
    assert_eq!(put_object(&steps[0]).0, at(5, 1));
}

#[test]
fn a_lower_seal_of_a_challenger_beats_our_own() {
    let mut bench = Bench::new(two_entries_a_roll());
    let first = bench.send_entry("a");
    bench.append("b");
    let _ = bench.sent();
    let _ = bench.ours(first);
    assert_eq!(bench.ours(at(4, 3)), NOTHING, "our seal is there");

    let effects = bench.pipeline.settled(at(4, 2), STRANGERS_SEAL);

    assert_eq!(told(effects), ["deposed 4/2"]);
    assert!(bench.sent().is_empty(), "no head");
}

#[test]
fn a_strangers_object_at_the_next_head_is_not_taken_as_our_own() {
    let mut bench = Bench::new(two_entries_a_roll());
    for command in ["a", "b"] {
        bench.append(command);
        let _ = bench.sent();
    }
    for place in [at(4, 1), at(4, 2), at(4, 3)] {
        let _ = bench.ours(place);
    }
    assert_eq!(bench.sent().len(), 1, "the head");

    let effects = bench.pipeline.settled(at(5, 0), STRANGERS_SEAL);

    assert_eq!(told(effects), ["deposed 5/0"]);
    bench.append("c");
    assert!(bench.sent().is_empty());
}

#[test]
fn a_roll_ends_by_bytes_and_by_a_snapshot_that_is_due() {
    let by_bytes = JournalConfig {
        roll_bytes_max: 64,
        ..config()
    };
    let by_snapshot = JournalConfig {
        snapshot_weight_min: 2,
        entry_weight_min: 1,
        ..config()
    };
    for (config, due) in [(by_bytes, false), (by_snapshot, true)] {
        let mut bench = Bench::new(config);
        bench.append("a");

        let steps = bench.sent();

        assert_eq!(steps.len(), 2, "entry and seal: {steps:?}");
        let _ = bench.ours(at(4, 1));
        let _ = bench.ours(at(4, 2));
        let _ = bench.sent();
        assert_eq!(bench.ours(at(5, 0)), [format!("roll 5 due {due}")]);
    }
}

#[test]
fn an_entry_sent_before_the_question_does_not_answer_it() {
    let mut bench = Bench::new(config());
    let early = bench.send_entry("a");
    bench.asked = 1;
    assert!(
        bench.sent().is_empty(),
        "no look while a place is unconfirmed"
    );
    let late = bench.send_entry("b");

    assert_eq!(bench.ours(early), ["0 a"]);

    assert_eq!(bench.ours(late), ["1 b", "checked 1"]);
}

#[test]
fn a_check_is_answered_only_when_all_places_below_are_known() {
    let mut bench = Bench::new(config());
    let early = bench.send_entry("a");
    bench.asked = 1;
    let late = bench.send_entry("b");

    assert_eq!(bench.ours(late), NOTHING);

    assert_eq!(bench.ours(early), ["0 a", "1 b", "checked 1"]);
}

#[test]
fn a_quiet_leader_looks_at_the_next_place_once_for_all_who_wait() {
    let mut bench = Bench::new(config());
    let place = bench.send_entry("a");
    bench.asked = 2;
    assert!(bench.sent().is_empty());
    let _ = bench.ours(place);

    assert_eq!(bench.sent(), [Step::Look { at: at(4, 2) }]);
    bench.asked = 3;
    assert!(bench.sent().is_empty(), "one look at a time");

    assert_eq!(bench.looked(at(4, 2), None), ["checked 2"]);
    assert_eq!(bench.sent(), [Step::Look { at: at(4, 2) }]);
    assert_eq!(bench.looked(at(4, 2), None), ["checked 3"]);
    assert!(bench.sent().is_empty());
}

#[test]
fn a_look_that_an_entry_overtook_proves_nothing() {
    let mut bench = Bench::new(config());
    bench.asked = 1;
    assert_eq!(bench.sent(), [Step::Look { at: at(4, 1) }]);
    let place = bench.send_entry("a");

    // The place may have been sent to, sealed above and collected before this 404 was read.
    assert_eq!(bench.looked(at(4, 1), None), NOTHING);

    assert_eq!(bench.ours(place), ["0 a", "checked 1"]);
}

#[test]
fn our_own_entry_met_by_a_look_does_not_depose_us() {
    let mut bench = Bench::new(config());
    bench.asked = 1;
    let _ = bench.sent();
    let place = bench.send_entry("a");

    let looked = bench.looked(at(4, 1), Some(ObjectKind::JournalEntry));

    assert_eq!(looked, NOTHING);
    assert_eq!(bench.ours(place), ["0 a", "checked 1"]);
}

#[test]
fn a_seal_met_by_a_look_deposes() {
    let mut bench = Bench::new(config());
    bench.asked = 1;
    let _ = bench.sent();

    let looked = bench.looked(at(4, 1), Some(ObjectKind::JournalSeal));

    assert_eq!(looked, ["deposed 4/1"]);
}

#[test]
fn a_command_about_to_be_sent_answers_without_a_look() {
    let mut bench = Bench::new(config());
    bench.append("a");
    bench.asked = 1;
    assert!(bench.sent_now().is_empty(), "lingering, no look");

    assert!(matches!(bench.sent().as_slice(), [Step::Put { .. }]));

    assert_eq!(bench.ours(at(4, 1)), ["0 a", "checked 1"]);
}

#[test]
fn after_our_own_seal_a_look_goes_to_the_next_roll_and_waits_for_its_head() {
    let mut bench = Bench::new(two_entries_a_roll());
    for command in ["a", "b"] {
        bench.append(command);
        let _ = bench.sent();
    }
    bench.asked = 1;
    for place in [at(4, 1), at(4, 2)] {
        let _ = bench.ours(place);
        assert!(bench.sent().is_empty(), "the seal is unconfirmed");
    }
    let _ = bench.ours(at(4, 3));
    assert!(
        matches!(bench.sent().as_slice(), [Step::Put { .. }]),
        "the head"
    );
    assert!(bench.sent().is_empty(), "the head is unconfirmed");

    assert_eq!(bench.ours(at(5, 0)), ["roll 5 due false"]);

    assert_eq!(bench.sent(), [Step::Look { at: at(5, 1) }]);
}

#[test]
fn a_stop_sends_at_once_what_was_taken_and_ends_no_roll() {
    let mut bench = Bench::new(JournalConfig {
        roll_entries_max: 1,
        ..config()
    });
    bench.append("a");
    bench.pipeline.drain();

    let steps = bench.sent_now();

    assert_eq!(steps.len(), 1, "the entry, no seal: {steps:?}");
    assert!(!bench.pipeline.is_idle());
    assert_eq!(bench.ours(at(4, 1)), ["0 a"]);
    assert!(bench.sent().is_empty() && bench.pipeline.is_idle());
}
