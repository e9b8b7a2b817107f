//! Check 5: functions of at most 70 lines, control flow nested at most 4 deep. Tests are exempt.
//!
//! Lines are those between the braces of the body, as clippy counts them. Nesting counts `if`,
//! `else`, `match`, `for`, `while`, `loop` and `select!`; closures and literals do not count.

use crate::finding::Finding;
use crate::source::{matching, words};
use crate::tree::Tree;

const RULE: &str = "functions";
const LINES_MAX: usize = 70;
const NESTING_MAX: usize = 4;

pub(super) fn functions(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in tree.sources() {
        for at in source.find_production("fn ") {
            let Some((name, open, close)) = body(&source.code, at) else {
                continue;
            };
            let lines = (source.line(close) - source.line(open)).saturating_sub(1);
            let mut say = |message| {
                found.push(Finding::new(RULE, &source.path, source.line(at), message));
            };
            if lines > LINES_MAX {
                say(format!("{name} has {lines} lines, at most {LINES_MAX}"));
            }
            let depth = nesting(source.code.get(open + 1..close).unwrap_or_default());
            if depth > NESTING_MAX {
                say(format!("{name} nests {depth} deep, at most {NESTING_MAX}"));
            }
        }
    }
    found
}

/// Name and braces of the function whose `fn` is at `at`; none for a declaration or a type.
fn body(code: &str, at: usize) -> Option<(&str, usize, usize)> {
    let head = code.get(at + "fn ".len()..)?;
    let (_, name) = words(head).next().filter(|(start, _)| *start == 0)?;
    let mut depth = 0_usize;
    for (offset, byte) in head.bytes().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.checked_sub(1)?,
            b';' if depth == 0 => return None,
            b'{' if depth == 0 => {
                let open = at + "fn ".len() + offset;
                return Some((name, open, matching(code, open)?));
            }
            _ => {}
        }
    }
    None
}

/// How deep control flow nests in `code`.
fn nesting(code: &str) -> usize {
    let bytes = code.as_bytes();
    let mut brackets: Vec<bool> = Vec::new();
    // How many brackets were open at a keyword whose block has not begun.
    let mut pending: Option<usize> = None;
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut keywords = words(code).peekable();
    for (at, byte) in bytes.iter().enumerate() {
        if let Some((_, word)) = keywords.next_if(|(start, _)| *start == at)
            && is_control(word, code.get(at + word.len()..).unwrap_or_default())
        {
            pending = Some(brackets.len());
        }
        match byte {
            b'(' | b'[' | b'{' => {
                let is_block = *byte == b'{' || select_opens(code, at);
                let opens = is_block && pending == Some(brackets.len()) && !is_pattern(code, at);
                if opens {
                    pending = None;
                    depth += 1;
                    deepest = deepest.max(depth);
                }
                brackets.push(opens);
            }
            b')' | b']' | b'}' => {
                let closes = brackets.pop() == Some(true);
                depth -= usize::from(closes);
            }
            // A match arm's guard, or the end of a statement: the keyword opened no block.
            b';' if pending == Some(brackets.len()) => pending = None,
            b'>' if at > 0
                && bytes.get(at - 1) == Some(&b'=')
                && pending == Some(brackets.len()) =>
            {
                pending = None;
            }
            _ => {}
        }
    }
    deepest
}

fn is_control(word: &str, after: &str) -> bool {
    match word {
        "if" | "else" | "match" | "while" | "loop" => true,
        "for" => !after.trim_start().starts_with('<'),
        "select" => after.starts_with('!'),
        _ => false,
    }
}

fn select_opens(code: &str, at: usize) -> bool {
    code.get(..at)
        .is_some_and(|before| before.trim_end().ends_with("select!"))
}

/// The brace belongs to a pattern: what follows its end is a single `=`, or `in`.
fn is_pattern(code: &str, open: usize) -> bool {
    let after = matching(code, open).and_then(|close| code.get(close + 1..));
    let after = after.unwrap_or_default().trim_start();
    let assigns = after.starts_with('=') && !after.starts_with("==") && !after.starts_with("=>");
    assigns || after.starts_with("in ")
}

#[cfg(test)]
mod tests {
    use super::{functions, nesting};
    use crate::checks::{fires, passes};

    const FILE: &str = "storage/x/src/a.rs";

    #[test]
    fn a_function_of_70_lines_passes_and_one_more_does_not() {
        let function = |lines| format!("fn long(\n    a: u8,\n) {{\n{}}}\n", "x;\n".repeat(lines));

        passes(functions, &[(FILE, &function(70))]);
        fires(functions, &[(FILE, &function(71))], "long has 71 lines");
        passes(functions, &[("storage/x/tests/a.rs", &function(71))]);
    }

    #[test]
    fn nesting_of_four_passes_and_of_five_does_not() {
        let four = "fn f() { if a { for b in c { while d { match e { f => { g() } } } } } }";
        let five = "fn f() { loop { if a { for b in c { while d { match e { f => {} } } } } } }";

        passes(functions, &[(FILE, four)]);
        fires(functions, &[(FILE, five)], "nests 5 deep");
    }

    #[track_caller]
    fn check(code: &str, depth: usize) {
        assert_eq!(nesting(code), depth, "{code}");
    }

    #[test]
    fn only_blocks_of_control_flow_count() {
        check("let a = B { c: D { e } };", 0);
        check("run(|a| { b(|c| { d }) })", 0);
        check("if a { b } else { c }", 1);
        check("if let A { b } = c { d }", 1);
        check("for A { b } in c { d }", 1);
        check("let A { b } = c else { return };", 1);
        check("match a { B if c => { d } _ => D { e } }", 1);
        check("match a { B => match c { _ => { d } } }", 2);
        check("tokio::select! { a = b => { if c { d } } }", 2);
        check("fn call(f: impl for<'a> Fn(&'a u8)) { f }", 0);
        check("if matches!(a, B { c }) { d }", 1);
    }
}
