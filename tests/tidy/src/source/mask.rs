//! Blanks comments and literals, so that checks look at code only. Lengths and lines stay.

/// `text` with every byte of comments, strings and characters but line ends made a space.
pub(super) fn mask(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let rest = bytes.get(at..).unwrap_or_default();
        let after_word = at > 0 && bytes.get(at - 1).is_some_and(|byte| is_word(*byte));
        let length = match byte {
            b'/' if rest.starts_with(b"//") => line_end(rest),
            b'/' if rest.starts_with(b"/*") => block_comment(rest),
            b'"' => string(rest),
            b'r' | b'b' | b'c' if !after_word => prefixed(rest),
            b'\'' => character(rest),
            _ => 0,
        };
        for byte in out.iter_mut().skip(at).take(length) {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at += length.max(1);
    }
    String::from_utf8_lossy(&out).into_owned()
}

pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn line_end(rest: &[u8]) -> usize {
    rest.iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(rest.len())
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(here) = rest.get(at..).filter(|here| !here.is_empty()) {
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// Length of the string that begins at the quote.
fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of a raw, byte or C string that begins here; 0 for a name.
fn prefixed(rest: &[u8]) -> usize {
    let prefix = rest
        .iter()
        .take(2)
        .take_while(|byte| matches!(**byte, b'r' | b'b' | b'c'))
        .count();
    let is_raw = rest.iter().take(prefix).any(|byte| *byte == b'r');
    let after = rest.get(prefix..).unwrap_or_default();
    let hashes = after.iter().take_while(|byte| **byte == b'#').count();
    if is_raw && after.get(hashes) == Some(&b'"') {
        let mut close = vec![b'"'];
        close.extend(std::iter::repeat_n(b'#', hashes));
        let body = after.get(hashes + 1..).unwrap_or_default();
        let end = body
            .windows(close.len())
            .position(|window| window == close.as_slice());
        return end.map_or(rest.len(), |end| prefix + hashes + 1 + end + close.len());
    }
    match after.first() {
        Some(b'"') if !is_raw => prefix + string(after),
        Some(b'\'') if !is_raw && prefix == 1 && rest.first() == Some(&b'b') => {
            prefix + character(after)
        }
        _ => 0,
    }
}

/// Length of a character literal; 0 for a lifetime.
fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        let body = rest.get(3..).unwrap_or_default();
        return body
            .iter()
            .position(|byte| *byte == b'\'')
            .map_or(0, |end| end + 4);
    }
    // One character of up to four bytes, then the closing quote.
    let end = rest.iter().skip(2).take(4).position(|byte| *byte == b'\'');
    match end {
        Some(0) => 3,
        Some(more) if rest.get(1).is_some_and(|byte| *byte >= 0x80) => more + 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[track_caller]
    fn check(text: &str, code: &str) {
        assert_eq!(mask(text), code);
    }

    #[test]
    fn comments_and_literals_are_blank_and_keep_their_length() {
        check("a // {\nb", "a     \nb");
        check("a /* { /* } */ */ b", "a                 b");
        check(r#"f("{\"") g"#, "f(     ) g");
        check(r##"f(r#"{"#) g"##, "f(      ) g");
        check("f(b\"{\", b'{') g", "f(    ,     ) g");
        check("f('{', '\\'', '…') g", "f(   ,     ,      ) g");
    }

    #[test]
    fn lifetimes_and_names_stay() {
        check(
            "fn f<'a>(r: &'a str, b: &'a u8)",
            "fn f<'a>(r: &'a str, b: &'a u8)",
        );
        check("let barb = crab;", "let barb = crab;");
    }
}
