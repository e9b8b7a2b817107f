//! What is no history is refused with its line, at each limit and one past it; and the binary's
//! exit codes tell clean, anomaly and unreadable apart.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
#![expect(clippy::panic, reason = "a test that cannot go on must fail")]

use std::fmt::Write as _;
use std::io::Cursor;
use std::path::Path;
use std::process::{Command, Output};

use esker_history::format::{
    Commit, Committed, Done, Event, Header, Invoke, Line, Operation, Send,
};
use esker_history::limits::{
    ANOMALIES_KEPT_MAX, CITED_EVENTS_MAX, COMMITS_IN_DOUBT_MAX, LINE_BYTES_MAX, NAME_BYTES_MAX,
    NAMES_MAX, OPEN_OPERATIONS_MAX, RECORDS_MAX, SENDS_MAX,
};
use esker_history::{Checker, HistoryError, Kind, Report, check};

const HEADER: &str = "{\"esker_history\":1}";

fn of(lines: &[&str]) -> Result<Report, HistoryError> {
    check(Cursor::new([&[HEADER], lines].concat().join("\n")))
}

fn rule(lines: &[&str]) -> &'static str {
    match of(lines).unwrap_err() {
        HistoryError::Contradiction { line, rule } => {
            assert_eq!(line, u64::try_from(lines.len()).unwrap() + 1, "{rule}");
            rule
        }
        error => panic!("{error}"),
    }
}

fn send(op: u64, vals: &str, more: &str) -> String {
    format!(
        "{{\"t\":{op},\"e\":{{\"invoke\":{{\"op\":{op},\"p\":1,\"do\":{{\"send\":\
         {{\"key\":\"a\",\"vals\":[{vals}]{more}}}}}}}}}}}"
    )
}

fn done(op: u64, more: &str) -> String {
    format!("{{\"t\":{op},\"e\":{{\"ok\":{{\"op\":{op}{more}}}}}}}")
}

#[test]
fn what_is_no_history_is_refused() {
    let empty = check(Cursor::new("")).unwrap_err();
    let other = check(Cursor::new("{\"esker_history\":2}")).unwrap_err();
    let garbage = of(&["{"]).unwrap_err();
    let misspelt = of(&["{\"t\":1,\"e\":{\"ok\":{\"op\":1,\"ofset\":1}}}"]).unwrap_err();
    let early = of(&[&send(2, "1", ""), &send(1, "2", "")]).unwrap_err();
    let file = esker_history::check_file(Path::new("no such file")).unwrap_err();

    assert!(matches!(empty, HistoryError::NoHeader));
    assert!(matches!(other, HistoryError::Version { found: 2 }));
    assert!(matches!(garbage, HistoryError::Syntax { line: 2, .. }));
    assert!(matches!(misspelt, HistoryError::Syntax { line: 2, .. }));
    assert!(matches!(early, HistoryError::Time { line: 3 }));
    assert!(matches!(file, HistoryError::Io { line: 0, .. }));
}

#[test]
fn a_line_that_contradicts_those_before_it_is_refused() {
    let (one, two) = (send(1, "1", ""), send(2, "2", ""));
    let poll = |keys: &str| {
        let ask = format!("{{\"poll\":{{\"keys\":[{keys}]}}}}");
        format!("{{\"t\":1,\"e\":{{\"invoke\":{{\"op\":1,\"p\":1,\"do\":{ask}}}}}}}")
    };
    let end = |op: u64, commit: bool| {
        format!(
            "{{\"t\":{op},\"e\":{{\"invoke\":{{\"op\":{op},\"p\":1,\"do\":{{\"end\":\
             {{\"txn\":1,\"commit\":{commit}}}}}}}}}}}"
        )
    };
    let latest =
        "{\"t\":1,\"e\":{\"invoke\":{\"op\":1,\"p\":1,\"do\":{\"latest\":{\"key\":\"a\"}}}}}";
    let range = "{\"range\":{\"key\":\"a\",\"from\":3,\"to\":3,\"why\":\"void\"}}";
    let range = format!("{{\"t\":1,\"e\":{{\"note\":{range}}}}}");
    let whole = "{\"t\":1,\"e\":{\"note\":{\"whole\":{\"key\":\"a\"}}}}";
    let big = format!(",\"offset\":{}", u64::MAX);

    assert!(rule(&[&two, &one.replace("\"t\":1", "\"t\":2")]).contains("rise"));
    assert!(rule(&[&done(1, "")]).contains("open completes"));
    assert!(rule(&[&send(1, "", "")]).contains("at least one record"));
    assert!(rule(&[&send(1, "1,1", "")]).contains("sent once"));
    assert!(rule(&[&one, &send(2, "1", "")]).contains("sent once"));
    let seq = ",\"producer\":{\"id\":1,\"epoch\":0,\"seq\":2147483648}";
    assert!(rule(&[&send(1, "1", seq)]).contains("below 2^31"));
    assert!(rule(&[&one, &done(1, "")]).contains("has an offset"));
    assert!(rule(&[&one, &done(1, &big)]).contains("below 2^64"));
    assert!(rule(&[latest, &done(1, "")]).contains("has an offset"));
    let read = |of: &str| done(1, &format!(",\"read\":{{\"a\":{of}}}"));
    assert!(rule(&[&poll("\"b\""), &read("{}")]).contains("asked for"));
    assert!(rule(&[&poll("\"a\""), &read("{\"recs\":[[0,1]],\"times\":[1,2]}")]).contains("time"));
    let at_end = read(&format!("{{\"recs\":[[{},1]]}}", u64::MAX));
    assert!(rule(&[&poll("\"a\""), &at_end]).contains("below 2^64"));
    assert!(rule(&[&end(1, true), &end(2, false)]).contains("one way"));
    assert!(rule(&[&range]).contains("at least one offset"));
    assert!(rule(&[whole, whole]).contains("whole once"));
}

fn line(event: Event) -> Line {
    Line { t: 0, event }
}

fn invoke(op: u64, what: Operation) -> Line {
    let (p, pod) = (1, None);
    line(Event::Invoke(Invoke { op, p, pod, what }))
}

fn batch(key: &str, vals: Vec<u64>) -> Operation {
    Operation::Send(Send {
        key: key.to_owned(),
        vals,
        producer: None,
        txn: None,
    })
}

fn limit_of(result: Result<(), HistoryError>) -> usize {
    match result.unwrap_err() {
        HistoryError::Limit { limit, .. } => limit,
        error => panic!("{error}"),
    }
}

#[test]
fn one_past_a_limit_is_refused() {
    let mut long = vec![b' '; LINE_BYTES_MAX];
    long.splice(..HEADER.len(), HEADER.bytes());
    assert!(check(Cursor::new(long.clone())).is_ok());
    long.push(b' ');
    let error = check(Cursor::new(long)).unwrap_err();
    assert!(matches!(
        error,
        HistoryError::Limit {
            line: 1,
            limit: LINE_BYTES_MAX,
            ..
        }
    ));

    let mut checker = Checker::new(Header::default()).unwrap();
    checker
        .line(invoke(1, batch(&"k".repeat(NAME_BYTES_MAX), vec![1])))
        .unwrap();
    let past = checker.line(invoke(2, batch(&"k".repeat(NAME_BYTES_MAX + 1), vec![1])));
    assert_eq!(limit_of(past), NAME_BYTES_MAX);

    let mut checker = Checker::new(Header::default()).unwrap();
    for op in 0..u64::try_from(OPEN_OPERATIONS_MAX).unwrap() {
        checker.line(invoke(op, batch("a", vec![op]))).unwrap();
    }
    let past = checker.line(invoke(u64::MAX, batch("a", vec![u64::MAX])));
    assert_eq!(limit_of(past), OPEN_OPERATIONS_MAX);

    let header = Header {
        append_time: (0..NAMES_MAX).map(|name| name.to_string()).collect(),
        ..Header::default()
    };
    let mut checker = Checker::new(header).unwrap();
    assert_eq!(
        limit_of(checker.line(invoke(1, batch("one more", vec![1])))),
        NAMES_MAX
    );
}

#[test]
fn the_number_of_records_bounds_memory() {
    // Two lines would be more than a line may have; the table is asked directly.
    let mut checker = Checker::new(Header::default()).unwrap();
    let vals: Vec<u64> = (0..=u64::try_from(RECORDS_MAX).unwrap()).collect();
    assert_eq!(
        limit_of(checker.line(invoke(1, batch("a", vals)))),
        RECORDS_MAX
    );
    const { assert!(SENDS_MAX <= RECORDS_MAX, "a send has a record") };
}

#[test]
fn commits_in_doubt_past_the_limit_are_counted_as_unchecked() {
    for (commits, unchecked) in [(COMMITS_IN_DOUBT_MAX, 0), (COMMITS_IN_DOUBT_MAX + 1, 1)] {
        let mut checker = Checker::new(Header::default()).unwrap();
        let mut op = 0;
        for _ in 0..commits {
            op += 1;
            let what = Operation::Commit(Commit {
                group: "g".to_owned(),
                generation: 1,
                key: "a".to_owned(),
                offset: op,
            });
            checker.line(invoke(op, what)).unwrap();
        }
        op += 1;
        let (group, key) = ("g".to_owned(), "a".to_owned());
        let what = Operation::Committed(Committed { group, key });
        checker.line(invoke(op, what)).unwrap();
        let answer = Done {
            op,
            offset: Some(1),
            read: std::collections::BTreeMap::new(),
            epoch: None,
            error: None,
        };
        checker.line(line(Event::Ok(answer))).unwrap();

        let report = checker.finish();

        assert!(report.clean, "{report}");
        assert_eq!(report.figures.unchecked, unchecked);
    }
}

#[test]
fn a_report_keeps_some_anomalies_of_a_kind_and_counts_all() {
    let kept = u64::try_from(ANOMALIES_KEPT_MAX).unwrap();
    let mut text = HEADER.to_owned();
    for op in 1..=kept + 1 {
        let poll = "{\"poll\":{\"keys\":[\"a\"]}}";
        write!(
            text,
            "\n{{\"t\":{op},\"e\":{{\"invoke\":{{\"op\":{op},\"p\":1,\"do\":{poll}}}}}}}\n{}",
            done(op, ",\"read\":{\"a\":{\"corrupt\":[1]}}")
        )
        .unwrap();
    }

    let report = check(Cursor::new(text)).unwrap();

    assert_eq!(report.counts[&Kind::Corruption], kept + 1);
    assert_eq!(report.anomalies.len(), ANOMALIES_KEPT_MAX);
    assert!(
        report
            .anomalies
            .iter()
            .all(|one| one.lines.len() <= CITED_EVENTS_MAX)
    );
}

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_esker-history"));
    command.args(arguments).output().unwrap()
}

#[test]
fn the_command_tells_clean_anomaly_and_unreadable_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let golden = |name: &str| golden.join(name).to_string_lossy().into_owned();
    std::fs::write(path("torn"), format!("{HEADER}\n{{\"t\":")).unwrap();

    let clean = run(&["check", &golden("lost-write.near.jsonl")]);
    let lost = run(&[
        "check",
        &golden("lost-write.jsonl"),
        &golden("gap.near.jsonl"),
    ]);
    let json = run(&["check", "--json", &golden("lost-write.jsonl")]);
    let torn = run(&["check", &path("torn"), &golden("lost-write.jsonl")]);
    let torn_json = run(&["check", "--json", &path("torn")]);
    let kinds = run(&["kinds"]);

    let codes = [&clean, &lost, &json, &torn, &torn_json].map(|output| output.status.code());
    assert_eq!(codes, [Some(0), Some(1), Some(1), Some(2), Some(2)]);
    let text = String::from_utf8(lost.stdout).unwrap();
    assert!(
        text.contains("lost-write: 1") && text.contains("no anomaly"),
        "{text}"
    );
    assert!(
        text.contains("    5: {\"t\":40"),
        "the cited lines stand below: {text}"
    );
    let value: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(value["report"]["anomalies"][0]["kind"], "lost-write");
    assert!(
        String::from_utf8(torn.stdout)
            .unwrap()
            .contains("line 2 is no line of a history")
    );
    let value: serde_json::Value = serde_json::from_slice(&torn_json.stdout).unwrap();
    assert!(value["error"].as_str().unwrap().contains("EOF"));
    let lines = String::from_utf8(kinds.stdout).unwrap();
    assert_eq!(lines.lines().count(), Kind::ALL.len());
}
