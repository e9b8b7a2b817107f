//! Fault rules: which requests are struck, and by what. The JSON of `POST /__shaper/rules`.

use std::time::Duration;

use esker_env::Rng;
use serde::{Deserialize, Serialize};

use super::report::StoreOperation;

/// What the client hears of a request that fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// This status, with S3's XML.
    Code(u16),
    /// The connection is closed without an answer.
    Rst,
    /// Nothing, for as long as the client waits.
    #[default]
    Hang,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ShapedFault {
    /// FB: fails before the store.
    Fb {
        /// What the client hears.
        reply: Reply,
    },
    /// FA: the store does it, the reply is lost.
    Fa {
        /// What the client hears instead.
        reply: Reply,
    },
    /// HOLD: the store gets it so much later, whatever the client did meanwhile.
    Hold {
        /// How much later.
        millis: u64,
        /// What the client hears at once.
        #[serde(default)]
        reply: Reply,
    },
    /// DUP: delivered again so much later.
    Dup {
        /// How much later.
        millis: u64,
    },
    /// SLOW: later and thinner.
    Slow {
        /// Wait before the store gets it.
        latency_millis: u64,
        /// Speed of both bodies.
        bytes_per_second: Option<u64>,
    },
    /// TRUNC: the body of a put is cut before the store, that of an answer before the client.
    Trunc,
    /// SHORT: half of the answer's body is missing, and its length agrees.
    Short,
    /// FLIP: a bit of the answer's body is wrong.
    Flip,
    /// UNORDLIST: the keys of a page of a listing come in any order.
    UnordList,
    /// STALELIST: listings lack what was put in the last while.
    StaleList {
        /// How long.
        millis: u64,
    },
    /// NOCOND: the store does not see the conditions.
    NoCond,
    /// C409: answered 409.
    C409 {
        /// Whether the store does it all the same.
        effect: bool,
    },
    /// OKERR: not done, but answered 200 with an error in the body.
    OkErr,
    /// CLOCK: the answer's `Date` is so much later, or earlier.
    Clock {
        /// By how much.
        seconds: i64,
    },
    /// CRED: refused for its credentials.
    Cred {
        /// Expired, rather than wrong.
        expired: bool,
    },
}

impl ShapedFault {
    /// The word of the fault vocabulary.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Fb { .. } => "FB",
            Self::Fa { .. } => "FA",
            Self::Hold { .. } => "HOLD",
            Self::Dup { .. } => "DUP",
            Self::Slow { .. } => "SLOW",
            Self::Trunc => "TRUNC",
            Self::Short => "SHORT",
            Self::Flip => "FLIP",
            Self::UnordList => "UNORDLIST",
            Self::StaleList { .. } => "STALELIST",
            Self::NoCond => "NOCOND",
            Self::C409 { .. } => "C409",
            Self::OkErr => "OKERR",
            Self::Clock { .. } => "CLOCK",
            Self::Cred { .. } => "CRED",
        }
    }
}

/// Which requests are struck: all, until narrowed. The first rule that strikes acts alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Appears in the report.
    #[serde(default)]
    pub name: String,
    /// HTTP method, such as `PUT`.
    #[serde(default)]
    pub method: Option<String>,
    /// `put`, `get`, `list`, `head`, `delete`: finer than the method.
    #[serde(default)]
    pub operation: Option<StoreOperation>,
    /// The key (bucket not counted) begins with it.
    #[serde(default)]
    pub key_prefix: Option<String>,
    /// The key contains it.
    #[serde(default)]
    pub key_contains: Option<String>,
    /// Only the n-th matching request, counted from 1.
    #[serde(default)]
    pub nth: Option<u64>,
    /// Only so many of the matching requests, 0 to 1.
    #[serde(default)]
    pub probability: Option<f64>,
    /// No more than so many strikes.
    #[serde(default)]
    pub times: Option<u64>,
    /// What strikes a key strikes it again at each later request, and no other key meanwhile.
    #[serde(default)]
    pub sticks: bool,
    /// Not before so long after the rules were set.
    #[serde(default)]
    pub after_millis: u64,
    /// For so long from then on.
    #[serde(default)]
    pub for_millis: Option<u64>,
    /// What happens.
    pub fault: ShapedFault,
}

impl Rule {
    /// Strikes every request.
    #[must_use]
    pub fn new(fault: ShapedFault) -> Self {
        Self {
            name: fault.label().to_owned(),
            method: None,
            operation: None,
            key_prefix: None,
            key_contains: None,
            nth: None,
            probability: None,
            times: None,
            sticks: false,
            after_millis: 0,
            for_millis: None,
            fault,
        }
    }
}

/// A request as rules see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) method: &'a str,
    pub(super) operation: StoreOperation,
    pub(super) key: &'a str,
}

/// A rule at work.
#[derive(Debug)]
pub(super) struct ActiveRule {
    pub(super) rule: Rule,
    pub(super) matched: u64,
    pub(super) struck: u64,
    stuck_to: Option<String>,
}

impl ActiveRule {
    pub(super) fn new(rule: Rule) -> Self {
        Self {
            rule,
            matched: 0,
            struck: 0,
            stuck_to: None,
        }
    }

    /// Counts from 0 again, and sticks to no key.
    pub(super) fn reset(&mut self) {
        (self.matched, self.struck, self.stuck_to) = (0, 0, None);
    }

    fn matches(&self, seen: Seen<'_>) -> bool {
        let rule = &self.rule;
        rule.method
            .as_deref()
            .is_none_or(|method| method.eq_ignore_ascii_case(seen.method))
            && rule
                .operation
                .is_none_or(|operation| operation == seen.operation)
            && rule
                .key_prefix
                .as_deref()
                .is_none_or(|text| seen.key.starts_with(text))
            && rule
                .key_contains
                .as_deref()
                .is_none_or(|text| seen.key.contains(text))
    }

    /// Counts the request if it matches; the fault if it is struck. `age` of the rules.
    pub(super) fn strike(
        &mut self,
        seen: Seen<'_>,
        age: Duration,
        rng: &Rng,
    ) -> Option<ShapedFault> {
        let from = Duration::from_millis(self.rule.after_millis);
        let length = self.rule.for_millis.map(Duration::from_millis);
        let in_window = age >= from && length.is_none_or(|length| age < from + length);
        if !in_window || !self.matches(seen) {
            return None;
        }
        self.matched += 1;
        let is_chosen = match &self.stuck_to {
            Some(key) => key == seen.key,
            None => {
                self.rule.nth.is_none_or(|nth| nth == self.matched)
                    && self.rule.probability.is_none_or(|share| rng.unit() < share)
            }
        };
        if !is_chosen || self.rule.times.is_some_and(|times| self.struck >= times) {
            return None;
        }
        if self.rule.sticks {
            self.stuck_to = Some(seen.key.to_owned());
        }
        self.struck += 1;
        Some(self.rule.fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strikes(rule: Rule, count: u32, age: Duration) -> Vec<u32> {
        let (mut active, rng) = (ActiveRule::new(rule), Rng::from_seed(5));
        let seen = Seen {
            method: "PUT",
            operation: StoreOperation::Put,
            key: "a/sessions/b",
        };
        (1..=count)
            .filter(|_| active.strike(seen, age, &rng).is_some())
            .collect()
    }

    #[test]
    fn rules_are_narrowed_by_key_number_share_and_time() {
        let all = || Rule::new(ShapedFault::Trunc);
        fn text(text: &str) -> Option<String> {
            Some(text.to_owned())
        }
        let none: [u32; 0] = [];

        let now = Duration::ZERO;
        let later = Duration::from_secs(1);
        let narrow = |change: fn(&mut Rule)| {
            let mut rule = all();
            change(&mut rule);
            rule
        };

        assert_eq!(strikes(narrow(|rule| rule.nth = Some(3)), 9, now), [3]);
        assert_eq!(strikes(narrow(|rule| rule.times = Some(2)), 9, now), [1, 2]);
        assert_eq!(
            strikes(narrow(|rule| rule.method = text("GET")), 9, now),
            none
        );
        assert_eq!(
            strikes(narrow(|rule| rule.key_contains = text("journal")), 9, now),
            none
        );
        assert_eq!(
            strikes(narrow(|rule| rule.key_prefix = text("a/sess")), 2, now),
            [1, 2]
        );
        assert_eq!(strikes(narrow(|rule| rule.after_millis = 5), 9, now), none);
        assert_eq!(
            strikes(narrow(|rule| rule.for_millis = Some(5)), 9, later),
            none
        );
        let share = strikes(narrow(|rule| rule.probability = Some(0.5)), 1000, now);
        assert!((400..600).contains(&share.len()));
    }

    #[test]
    fn a_rule_that_sticks_strikes_the_key_that_it_chose_and_no_other() {
        let mut active = ActiveRule::new(Rule {
            nth: Some(2),
            times: Some(3),
            sticks: true,
            ..Rule::new(ShapedFault::Trunc)
        });
        let rng = Rng::from_seed(5);
        let mut ask = |key| {
            let seen = Seen {
                method: "PUT",
                operation: StoreOperation::Put,
                key,
            };
            active.strike(seen, Duration::ZERO, &rng).is_some()
        };

        let struck = ["a", "b", "c", "b", "a", "b", "b"].map(&mut ask);

        assert_eq!(struck, [false, true, false, true, false, true, false]);
    }

    #[test]
    fn rules_read_from_json_and_unknown_fields_are_refused() {
        let text = r#"[{"method":"PUT","key_contains":"/sessions/","probability":0.1,
            "fault":{"kind":"fa","reply":{"code":503}}},
            {"fault":{"kind":"hold","millis":30}},{"fault":{"kind":"fb","reply":"rst"}},
            {"operation":"list","fault":{"kind":"stale_list","millis":9}}]"#;

        let rules: Vec<Rule> = serde_json::from_str(text).unwrap();

        assert_eq!(
            rules[0].fault,
            ShapedFault::Fa {
                reply: Reply::Code(503)
            }
        );
        assert_eq!(
            rules[1].fault,
            ShapedFault::Hold {
                millis: 30,
                reply: Reply::Hang
            }
        );
        let wrong = serde_json::from_str::<Rule>(r#"{"keys":"x","fault":{"kind":"trunc"}}"#);
        assert!(wrong.is_err());
    }
}
