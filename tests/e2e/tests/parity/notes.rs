//! Questions and answers, written down in words, and how two sets of them differ.

use std::collections::{BTreeMap, BTreeSet};

/// What one broker answered, by question.
#[derive(Debug, Default)]
pub(crate) struct Notes(BTreeMap<String, String>);

/// A question with two answers.
#[derive(Debug)]
pub(crate) struct Difference {
    question: String,
    ours: Option<String>,
    theirs: Option<String>,
}

impl Notes {
    pub(crate) fn add(&mut self, question: impl Into<String>, answer: impl std::fmt::Debug) {
        let question = question.into();
        let before = self.0.insert(question.clone(), format!("{answer:?}"));
        assert!(before.is_none(), "{question} is asked once");
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn differences(&self, theirs: &Self) -> Vec<Difference> {
        let questions: BTreeSet<&String> = self.0.keys().chain(theirs.0.keys()).collect();
        let one = |question: &String| Difference {
            question: question.clone(),
            ours: self.0.get(question).cloned(),
            theirs: theirs.0.get(question).cloned(),
        };
        let all = questions.into_iter().map(one);
        all.filter(|one| one.ours != one.theirs).collect()
    }
}

impl Difference {
    /// Whether `stated` is the question, or with a `*` at its end the beginning of it.
    pub(crate) fn is_about(&self, stated: &str) -> bool {
        match stated.strip_suffix('*') {
            Some(beginning) => self.question.starts_with(beginning),
            None => self.question == stated,
        }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let absent = || "no answer".to_owned();
        writeln!(f, "- {}", self.question)?;
        writeln!(
            f,
            "    Esker:  {}",
            self.ours.clone().unwrap_or_else(absent)
        )?;
        write!(
            f,
            "    Kafka:  {}",
            self.theirs.clone().unwrap_or_else(absent)
        )
    }
}
