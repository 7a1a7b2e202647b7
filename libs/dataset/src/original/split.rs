//! Which cases the original trained on and which judged.

use super::mersenne::Mersenne;

/// Seed of the original's shuffle.
const SPLIT_SEED: u32 = 42;

/// Divides cases as the original did and returns the names to train on and those that judge.
///
/// The names are sorted, shuffled as Python does after `random.seed(42)`, and the first three
/// quarters, rounded down, train. Give the names of all kept cases
/// ([`OriginalCase::is_kept`](super::OriginalCase::is_kept)), in any order; the outcome depends on
/// all of them. The original numbered the cases before this step (`image_7.npy`), so its division
/// is repeated only by giving the names that it gave.
pub fn original_split(names: &[String]) -> (Vec<String>, Vec<String>) {
    let mut names = names.to_vec();
    names.sort();
    Mersenne::new(SPLIT_SEED).shuffle(&mut names);
    let judging = names.split_off(names.len() * 3 / 4);
    (names, judging)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_division_is_the_one_python_makes() {
        // python3: names.sort(); random.seed(42); random.shuffle(names); int(.75 * len(names))
        let mut names: Vec<String> =
            (1..=369).map(|case| format!("BraTS20_Training_{case:03}")).collect();
        names.rotate_left(100);
        let (training, judging) = original_split(&names);
        assert_eq!((training.len(), judging.len()), (276, 93));
        let name = |number: u32| format!("BraTS20_Training_{number}");
        assert_eq!(training[..3], [name(298), name(249), name(179)]);
        assert_eq!((&training[275], &judging[0]), (&name(278), &name(282)));
        assert_eq!(judging[92], name(328));
    }

    #[test]
    fn three_quarters_are_rounded_down() {
        for (count, expected) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 3), (6, 4), (7, 5)] {
            let names: Vec<String> = (0..count).map(|case| format!("case {case}")).collect();
            let (training, judging) = original_split(&names);
            assert_eq!((training.len(), judging.len()), (expected, count - expected));
            let mut all = [training, judging].concat();
            all.sort();
            assert_eq!(all, names);
        }
    }
}
