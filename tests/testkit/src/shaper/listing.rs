//! Stale and unordered listings: takes from a page of keys what was put only lately, or deals the
//! keys of a page anew.

use esker_env::Rng;

const OPEN: &str = "<Contents>";
const CLOSE: &str = "</Contents>";

/// The page without the `<Contents>` whose key `is_hidden`. Text in, text out; anything that is
/// not a page stays as it is. Keys of ours need no unescaping.
pub(super) fn hide(page: &str, is_hidden: impl Fn(&str) -> bool) -> String {
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

/// The page with its `<Contents>` in another order.
pub(super) fn shuffle(page: &str, rng: &Rng) -> String {
    let mut blocks = Vec::new();
    let mut around = String::with_capacity(page.len());
    let mut place = None;
    let mut rest = page;
    while let Some((before, from)) = rest.split_once(OPEN) {
        let Some((block, after)) = from.split_once(CLOSE) else {
            break;
        };
        around.push_str(before);
        place.get_or_insert(around.len());
        blocks.push(format!("{OPEN}{block}{CLOSE}"));
        rest = after;
    }
    around.push_str(rest);
    let mut dealt = String::with_capacity(page.len());
    while !blocks.is_empty() {
        let left = u64::try_from(blocks.len()).unwrap_or(u64::MAX);
        let chosen = usize::try_from(rng.below(left)).unwrap_or(0);
        dealt.push_str(&blocks.swap_remove(chosen));
    }
    around.insert_str(place.unwrap_or(0), &dealt);
    around
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffled_page_has_the_same_keys_in_another_order() {
        let block = |name: u32| format!("<Contents><Key>{name}</Key></Contents>");
        let blocks: Vec<String> = (0..20).map(block).collect();
        let page = format!("<L><P>x</P>{}<T/></L>", blocks.concat());

        let dealt = shuffle(&page, &Rng::from_seed(3));

        assert_ne!(dealt, page);
        assert_eq!(dealt.len(), page.len());
        assert!(dealt.starts_with("<L><P>x</P><Contents>") && dealt.ends_with("<T/></L>"));
        assert!(blocks.iter().all(|block| dealt.contains(block)));
        assert_eq!(
            shuffle("<L><Contents>", &Rng::from_seed(3)),
            "<L><Contents>"
        );
    }

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
