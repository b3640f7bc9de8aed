//! What payers may have left in a GPU's memory, and who must not be handed it.
//!
//! A child clears the memory of each job. One that is killed cannot, and a container never does: what they leave is
//! cleared by the driver alone, if at all. So whose it is is remembered until a process of the worker's own has written
//! zeros over all of the device's memory, and until then nobody else is given the device.

use alloy::primitives::Address;

/// What may be in a device's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Residue {
    /// Who had the device since it was scrubbed.
    users: Payers,
    /// Whose memory was not even cleared by the child that had it.
    left: Payers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Payers {
    Nobody,
    One(Address),
    /// Several, or somebody before this worker was started.
    Unknown,
}

impl Payers {
    fn and(self, payer: Address) -> Self {
        if self.is_another_than(payer) { Self::Unknown } else { Self::One(payer) }
    }

    fn is_another_than(self, payer: Address) -> bool {
        match self {
            Self::Nobody => false,
            Self::One(one) => one != payer,
            Self::Unknown => true,
        }
    }
}

impl Residue {
    /// Of a device of which nothing is known.
    pub(super) const fn unknown() -> Self {
        Self { users: Payers::Unknown, left: Payers::Unknown }
    }

    /// Of a device all of whose memory is zero.
    pub(super) const fn none() -> Self {
        Self { users: Payers::Nobody, left: Payers::Nobody }
    }

    /// A payer's job had the device; `cleared` if its child lived to clear its memory.
    pub(super) fn used(&mut self, payer: Address, cleared: bool) {
        self.users = self.users.and(payer);
        if !cleared {
            self.left = self.left.and(payer);
        }
    }

    /// Whether a child for this payer must not have the device yet: it hands out cleared memory only, but what a kernel
    /// has besides its buffers is the driver's.
    pub(super) fn bars_child(&self, payer: Address) -> bool {
        self.left.is_another_than(payer)
    }

    /// Whether a container of this payer must not: it sees all memory that the driver gives it as it is.
    pub(super) fn bars_container(&self, payer: Address) -> bool {
        self.users.is_another_than(payer) || self.left.is_another_than(payer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Address = Address::repeat_byte(1);
    const OTHER: Address = Address::repeat_byte(2);

    #[test]
    fn what_was_not_cleared_is_kept_from_everybody_else() {
        let mut residue = Residue::none();
        assert!(!residue.bars_child(ONE) && !residue.bars_container(ONE));
        residue.used(ONE, true);
        assert!(!residue.bars_child(OTHER), "its child cleared its memory");
        assert!(residue.bars_container(OTHER), "a container sees more than buffers");
        residue.used(ONE, false);
        assert!(residue.bars_child(OTHER) && residue.bars_container(OTHER));
        assert!(!residue.bars_child(ONE) && !residue.bars_container(ONE), "it is its own");
    }

    #[test]
    fn what_several_left_is_nobodys() {
        let mut residue = Residue::none();
        residue.used(ONE, true);
        residue.used(OTHER, true);
        assert!(residue.bars_container(ONE) && residue.bars_container(OTHER));
        assert!(!residue.bars_child(ONE));
        for payer in [ONE, OTHER] {
            assert!(Residue::unknown().bars_child(payer) && Residue::unknown().bars_container(payer));
        }
    }
}
