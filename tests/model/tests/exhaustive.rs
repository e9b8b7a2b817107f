//! Every state of the small scenarios keeps every rule, and every planted bug breaks one.

use esker_model::chain::{self, ChainModel, Mutation};
use esker_model::{Bounds, journal};

#[expect(
    clippy::print_stdout,
    reason = "what was searched is told with --nocapture"
)]
fn tell(row: &str) {
    println!("{row}");
}

#[test]
fn no_reachable_state_breaks_a_rule() {
    assert!(esker_model::search_clean(Bounds::Small, &[], &mut tell));
}

#[test]
fn each_planted_bug_is_found() {
    assert!(esker_model::search_planted(&mut tell));
}

#[test]
fn a_bug_is_found_in_bounds_that_are_clean_without_it() {
    for mutation in Mutation::ALL {
        assert!(chain::SMALL.contains(&mutation.scenario()), "{mutation:?}");
    }
    for mutation in journal::Mutation::ALL {
        assert!(
            journal::SMALL.contains(&mutation.scenario()),
            "{mutation:?}"
        );
    }
}

#[test]
fn a_name_that_no_scenario_has_is_not_called_clean() {
    let names = ["no such scenario".to_owned()];

    assert!(!esker_model::search_clean(Bounds::Large, &names, &mut tell));
}

#[test]
fn one_model_gives_one_search() {
    let mutation = Some(Mutation::AckOutOfOrder);
    let scenario = Mutation::AckOutOfOrder.scenario();
    let search = || esker_model::search(ChainModel { scenario, mutation }, 1, Some("CP1"));

    let (left, right) = (search(), search());

    assert_eq!(left.broken, right.broken);
    assert_eq!((left.states, left.depth), (right.states, right.depth));
}
