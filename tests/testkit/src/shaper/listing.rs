//! Stale listings: takes from a page of keys what was put only lately.

/// The page without the `<Contents>` whose key `is_hidden`. Text in, text out; anything that is
/// not a page stays as it is. Keys of ours need no unescaping.
pub(super) fn hide(page: &str, is_hidden: impl Fn(&str) -> bool) -> String {
    const OPEN: &str = "<Contents>";
    const CLOSE: &str = "</Contents>";
    let mut kept = String::with_capacity(page.len());
    let mut rest = page;
    while let Some((before, from)) = rest.split_once(OPEN) {
        let Some((block, after)) = from.split_once(CLOSE) else {
            break;
        };
        kept.push_str(before);
        let key = block
            .split_once("<Key>")
            .and_then(|(_, tail)| tail.split_once("</Key>"));
        if !key.is_some_and(|(key, _)| is_hidden(key)) {
            kept.push_str(OPEN);
            kept.push_str(block);
            kept.push_str(CLOSE);
        }
        rest = after;
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hidden_keys_leave_the_page() {
        let page = "<L><Contents><Key>a</Key></Contents><Contents><Key>b</Key></Contents></L>";

        assert_eq!(
            hide(page, |key| key == "a"),
            "<L><Contents><Key>b</Key></Contents></L>"
        );
        assert_eq!(hide("<L><Contents>", |_| true), "<L><Contents>");
    }
}
