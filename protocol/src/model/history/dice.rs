//! Chance, from one word.

use crate::amount::Amount;

/// SplitMix64: every word is as good a seed as any other.
#[derive(Debug, Clone)]
pub struct Dice(u64);

/// The word of a history's step.
pub fn word(seed: u64, step: u64) -> u64 {
    let mut dice = Dice::new(seed);
    let salt = dice.roll();
    Dice::new(salt.wrapping_add(step.wrapping_mul(0xd134_2543_de82_ef95))).roll()
}

impl Dice {
    /// Dice that fall as `word` says.
    pub const fn new(word: u64) -> Self {
        Self(word)
    }

    /// Any number.
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 where `n` is 0.
    pub const fn below(&mut self, n: u64) -> u64 {
        let rolled = self.roll();
        if n == 0 { 0 } else { rolled % n }
    }

    /// Whether something of this likelihood happens.
    pub const fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let index = self.below(from.len() as u64);
        from.get(usize::try_from(index).ok()?)
    }

    /// One of them, by weight.
    pub fn weigh<T: Copy>(&mut self, from: &[(T, u64)]) -> Option<T> {
        let mut left = self.below(from.iter().map(|(_, weight)| weight).sum());
        for (item, weight) in from {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return Some(*item),
            }
        }
        None
    }

    /// An amount from 1 to `ceiling`, small ones as likely as large ones.
    pub fn amount(&mut self, ceiling: Amount) -> Amount {
        let bits = 64 - ceiling.get().leading_zeros();
        let scale = 1 + self.below(u64::from(bits));
        let top = if scale >= 64 { u64::MAX } else { (1 << scale) - 1 };
        Amount(1 + self.below(top.min(ceiling.get())))
    }
}
