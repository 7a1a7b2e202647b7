//! The random numbers of Python, so that a division made there can be repeated here.

/// Words of the state.
const STATE_WORDS: usize = 624;

/// Distance of the words that are mixed.
const SHIFT_WORDS: usize = 397;

/// What the state is made of before the seed goes in: CPython's `random.seed` starts so.
const START: u32 = 19_650_218;

/// The Mersenne Twister MT19937, seeded as CPython's `random.seed` seeds it by a small integer.
///
/// # Source
/// Matsumoto and Nishimura, "Mersenne Twister", ACM TOMACS 8 (1998), with the initialisation by an
/// array of 2002.
pub(super) struct Mersenne {
    state: [u32; STATE_WORDS],
    /// Words used since the state was renewed.
    used: usize,
}

impl Mersenne {
    pub(super) fn new(seed: u32) -> Self {
        let mut state = [0_u32; STATE_WORDS];
        let mut before = START;
        state[0] = before;
        for (index, word) in (0_u32..).zip(&mut state).skip(1) {
            before = 1_812_433_253_u32.wrapping_mul(before ^ (before >> 30)).wrapping_add(index);
            *word = before;
        }
        let mut at = 1;
        for _ in 0..STATE_WORDS {
            let mixed = mix(state[at - 1], 1_664_525);
            state[at] = (state[at] ^ mixed).wrapping_add(seed);
            at = step(at, &mut state);
        }
        for _ in 1..STATE_WORDS {
            let mixed = mix(state[at - 1], 1_566_083_941);
            let index = u32::try_from(at).unwrap_or_default();
            state[at] = (state[at] ^ mixed).wrapping_sub(index);
            at = step(at, &mut state);
        }
        state[0] = 1 << 31;
        Self { state, used: STATE_WORDS }
    }

    /// Returns 32 random bits.
    fn word(&mut self) -> u32 {
        if self.used >= STATE_WORDS {
            self.renew();
        }
        let mut word = self.state[self.used];
        self.used += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn renew(&mut self) {
        for at in 0..STATE_WORDS {
            let next = self.state[(at + 1) % STATE_WORDS];
            let joined = (self.state[at] & 0x8000_0000) | (next & 0x7fff_ffff);
            let twist = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[at] = self.state[(at + SHIFT_WORDS) % STATE_WORDS] ^ (joined >> 1) ^ twist;
        }
        self.used = 0;
    }

    /// Returns a number below `count`, which must not be 0: the first draw of as many bits as
    /// `count` has that is below it.
    fn below(&mut self, count: u32) -> u32 {
        loop {
            let drawn = self.word() >> count.leading_zeros();
            if drawn < count {
                return drawn;
            }
        }
    }

    /// Brings `items` into the order that `random.shuffle` would; fewer than 2^32 of them.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let count = u32::try_from(last + 1).unwrap_or(u32::MAX);
            items.swap(last, self.below(count) as usize);
        }
    }
}

fn mix(before: u32, factor: u32) -> u32 {
    (before ^ (before >> 30)).wrapping_mul(factor)
}

/// Returns the place after `at`; behind the last comes 1, and the last word moves to place 0.
fn step(at: usize, state: &mut [u32; STATE_WORDS]) -> usize {
    if at + 1 < STATE_WORDS {
        return at + 1;
    }
    state[0] = state[STATE_WORDS - 1];
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_python() {
        // python3: random.seed(SEED); [random.getrandbits(32) for _ in range(N)]
        let mut answer = Mersenne::new(42);
        let words: Vec<u32> = (0..10_000).map(|_| answer.word()).collect();
        assert_eq!(words[..4], [2_746_317_213, 478_163_327, 107_420_369, 3_184_935_163]);
        assert_eq!(words[9_999], 3_981_887_252);
        assert_eq!(Mersenne::new(0).word(), 3_626_764_237);
        assert_eq!(Mersenne::new(u32::MAX).word(), 2_728_839_433);
    }

    #[test]
    fn orders_are_those_of_python() {
        // python3: random.seed(42); x = list(range(N)); random.shuffle(x)
        let shuffled = |count: u32| {
            let mut items: Vec<u32> = (0..count).collect();
            Mersenne::new(42).shuffle(&mut items);
            items
        };
        assert_eq!(shuffled(0), [0_u32; 0]);
        assert_eq!(shuffled(1), [0]);
        assert_eq!(shuffled(2), [1, 0]);
        assert_eq!(shuffled(6), [3, 1, 2, 4, 0, 5]);
        assert_eq!(shuffled(10), [7, 3, 2, 8, 5, 6, 9, 4, 0, 1]);
        for (count, first, last, sum) in [
            (369, [297, 248, 178, 267, 34, 231], [114, 125, 140, 12, 57, 327], 12_404_751),
            (1000, [776, 507, 895, 922, 33, 483], [250, 281, 759, 25, 114, 654], 250_181_598),
        ] {
            let items = shuffled(count);
            assert_eq!(items[..6], first);
            assert_eq!(items[items.len() - 6..], last);
            // sum(i * v for i, v in enumerate(x))
            let found: u64 = (0_u64..).zip(&items).map(|(at, &item)| at * u64::from(item)).sum();
            assert_eq!(found, sum, "{count} items");
        }
    }
}
