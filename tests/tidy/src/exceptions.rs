//! `exceptions.toml`: findings that a written reason excuses. An entry that is not needed is a
//! finding, so exceptions end when their reason does.

use crate::finding::Finding;
use crate::tree::Tree;

/// Where the exceptions are.
pub const EXCEPTIONS_PATH: &str = "tests/tidy/exceptions.toml";
const RULE: &str = "exceptions";
/// Characters of a reason: less says nothing.
const REASON_CHARACTERS_MIN: usize = 20;

struct Entry {
    rule: String,
    path: String,
    /// Only findings whose message has this in it.
    only: String,
    reason: String,
}

impl Entry {
    fn excuses(&self, finding: &Finding) -> bool {
        self.rule == finding.rule
            && self.path == finding.path
            && finding.message.contains(&self.only)
    }
}

/// Takes away what is excused, adds what is wrong with the exceptions.
pub(crate) fn apply(tree: &Tree, found: Vec<Finding>) -> Vec<Finding> {
    let text = tree.text(EXCEPTIONS_PATH).unwrap_or_default();
    let Some(entries) = read(text) else {
        let message = "no list of [[exception]] with rule, path, reason and perhaps only";
        return vec![Finding::new(RULE, EXCEPTIONS_PATH, 1, message)];
    };

    let mut left = Vec::new();
    for entry in &entries {
        let about = format!("{} of {}", entry.rule, entry.path);
        if entry.reason.trim().chars().count() < REASON_CHARACTERS_MIN {
            let message = format!("{about}: say why it must be so");
            left.push(Finding::new(RULE, EXCEPTIONS_PATH, 1, message));
        }
        if !found.iter().any(|finding| entry.excuses(finding)) {
            let message = format!("{about}: excuses nothing any more, take it out");
            left.push(Finding::new(RULE, EXCEPTIONS_PATH, 1, message));
        }
    }
    left.extend(
        found
            .into_iter()
            .filter(|finding| !entries.iter().any(|entry| entry.excuses(finding))),
    );
    left
}

fn read(text: &str) -> Option<Vec<Entry>> {
    let table: toml::Table = text.parse().ok()?;
    let Some(rows) = table.get("exception") else {
        return table.is_empty().then(Vec::new);
    };
    let field = |row: &toml::Value, name: &str| Some(row.get(name)?.as_str()?.to_owned());
    rows.as_array()?
        .iter()
        .map(|row| {
            Some(Entry {
                rule: field(row, "rule")?,
                path: field(row, "path")?,
                only: field(row, "only").unwrap_or_default(),
                reason: field(row, "reason")?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{EXCEPTIONS_PATH, apply};
    use crate::finding::Finding;
    use crate::tree::Tree;

    fn left(exceptions: &str) -> Vec<String> {
        let tree = Tree::of(&[(EXCEPTIONS_PATH, exceptions)]);
        let found = vec![Finding::new("sizes", "a.rs", 1, "too long")];
        let left = apply(&tree, found);
        left.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn an_excused_finding_is_gone() {
        let text = "[[exception]]\nrule = \"sizes\"\npath = \"a.rs\"\n\
                    reason = \"a table of shapes that is read whole\"";

        assert_eq!(left(text), Vec::<String>::new());
    }

    #[test]
    fn an_entry_that_excuses_nothing_is_a_finding() {
        let text = "[[exception]]\nrule = \"sizes\"\npath = \"b.rs\"\n\
                    reason = \"a table of shapes that is read whole\"";

        let left = left(text);

        assert_eq!(left.len(), 2);
        assert!(
            left.iter()
                .any(|message| message.contains("excuses nothing"))
        );
    }

    #[test]
    fn an_entry_without_a_reason_is_a_finding() {
        let text = "[[exception]]\nrule = \"sizes\"\npath = \"a.rs\"\nreason = \"so\"";

        let left = left(text);

        assert!(left.iter().any(|message| message.contains("say why")));
    }

    #[test]
    fn what_cannot_be_read_is_a_finding() {
        assert_eq!(left("[[exceptions]]\nrule = \"sizes\"").len(), 1);
        assert_eq!(left("exception = 1").len(), 1);
    }
}
