//! The epoch check (J8, R2): which questions an entry or a look at the next place answers. Pure.
//!
//! Questions are numbered in the order in which they come; answering one answers all before it.
//! Invariant: what answers a question was first sent after the question came.

use esker_types::{Planted, planted};

/// Questions and what is under way to answer them.
#[derive(Debug, Default)]
pub(crate) struct EpochChecks {
    /// Questions that have come.
    asked: u64,
    /// Of these, how many an entry in flight or durable answers.
    covered: u64,
    /// Of these, how many are answered.
    answered: u64,
    look: Option<Look>,
}

/// A GET of the next place, with nothing unconfirmed when it started.
#[derive(Debug)]
struct Look {
    /// Questions that had come before it started.
    serves: u64,
    /// Its place was sent to meanwhile: its 404 proves nothing any more.
    overtaken: bool,
}

impl EpochChecks {
    /// `asked` questions have come in all.
    pub(crate) fn ask(&mut self, asked: u64) {
        self.asked = self.asked.max(asked);
    }

    /// An entry is sent for the first time: the questions that it will answer.
    pub(crate) fn entry_sent(&mut self) -> u64 {
        self.place_sent();
        self.covered = self.asked;
        self.asked
    }

    /// Something is sent to the next place.
    pub(crate) fn place_sent(&mut self) {
        if let Some(look) = &mut self.look {
            look.overtaken = true;
        }
    }

    /// An entry became durable that serves so many questions: how many are answered now, if more.
    pub(crate) fn entry_durable(&mut self, serves: u64) -> Option<u64> {
        assert!(
            serves <= self.asked,
            "J8: an entry serves questions that had come"
        );
        let all = planted(Planted::JournalCheckServesLater);
        self.answer(if all { self.asked } else { serves })
    }

    /// Whether a question waits that nothing under way will answer.
    pub(crate) fn wants_look(&self) -> bool {
        self.look.is_none() && self.asked > self.answered.max(self.covered)
    }

    /// A look starts. The caller has nothing unconfirmed and never sent to the place.
    pub(crate) fn begin_look(&mut self) {
        assert!(self.look.is_none(), "one look at a time");
        self.look = Some(Look {
            serves: self.asked,
            overtaken: false,
        });
    }

    /// The look found nobody: how many questions are answered now, if more.
    pub(crate) fn looked_missing(&mut self) -> Option<u64> {
        match self.look.take() {
            Some(Look { serves, .. }) if planted(Planted::JournalCheckedInFlight) => {
                self.answer(serves)
            }
            Some(Look {
                serves,
                overtaken: false,
            }) => self.answer(serves),
            Some(Look {
                overtaken: true, ..
            })
            | None => None,
        }
    }

    /// The look found something: whether it can only be a stranger's.
    pub(crate) fn looked_found(&mut self) -> bool {
        self.look.take().is_some_and(|look| !look.overtaken)
    }

    fn answer(&mut self, serves: u64) -> Option<u64> {
        (serves > self.answered).then(|| {
            self.answered = serves;
            serves
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_answers_only_questions_that_came_before_it_was_sent() {
        let mut checks = EpochChecks::default();
        checks.ask(1);
        let serves = checks.entry_sent();
        checks.ask(2);

        let answered = checks.entry_durable(serves);

        assert_eq!(answered, Some(1));
        assert!(checks.wants_look(), "question 2 is still open");
    }

    #[test]
    fn one_look_serves_all_that_wait_when_it_starts_and_no_later_one() {
        let mut checks = EpochChecks::default();
        checks.ask(3);
        checks.begin_look();
        checks.ask(4);
        assert!(!checks.wants_look(), "one look at a time");

        assert_eq!(checks.looked_missing(), Some(3));

        assert!(checks.wants_look());
        checks.begin_look();
        assert_eq!(checks.looked_missing(), Some(4));
        assert!(!checks.wants_look());
    }

    #[test]
    fn a_look_at_a_place_that_was_sent_to_meanwhile_proves_nothing() {
        let mut checks = EpochChecks::default();
        checks.ask(1);
        checks.begin_look();

        let serves = checks.entry_sent();

        assert_eq!(checks.looked_missing(), None);
        assert!(!checks.wants_look(), "the entry will answer");
        assert_eq!(checks.entry_durable(serves), Some(1));
    }

    #[test]
    fn a_look_that_a_seal_overtook_is_made_again() {
        let mut checks = EpochChecks::default();
        checks.ask(1);
        checks.begin_look();

        checks.place_sent();

        assert_eq!(checks.looked_missing(), None);
        assert!(checks.wants_look());
    }

    #[test]
    fn an_object_at_a_place_sent_to_is_not_called_a_strangers() {
        let mut checks = EpochChecks::default();
        checks.ask(1);
        checks.begin_look();
        let _ = checks.entry_sent();

        assert!(!checks.looked_found());

        checks.ask(2);
        checks.begin_look();
        assert!(checks.looked_found());
    }
}
