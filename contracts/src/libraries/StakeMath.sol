// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {Stake} from "../types/Stake.sol";

/// @title StakeMath: what of a stake can be slashed, and its storage word
/// @dev Sums of two amounts are 256 bits wide: no stake, however large, makes a slash overflow.
library StakeMath {
    using SafeCast for uint256;

    uint256 private constant BPS = 10_000;

    /// @notice Gives a stake the slash budget of the epoch of `time`, unless it has it already: `capBps` of the stake at the
    /// epoch's start, rounded down.
    /// @dev Comes before every change of a stake. What was stored before the first change of an epoch is therefore what stood
    /// at its start, and neither staking nor unstaking within an epoch moves its budget.
    function enterEpoch(Stake memory self, uint256 time, uint256 length, uint256 capBps) internal pure {
        uint256 epoch = time / length;
        if (self.epoch == epoch) return;
        self.epoch = epoch.toUint32();
        self.slashBudget = (_within(self, epoch * length) * capBps / BPS).toUint64();
    }

    /// @notice What may be slashed now.
    function slashable(Stake memory self, uint256 time) internal pure returns (uint64) {
        uint256 within = _within(self, time);
        return within < self.slashBudget ? uint64(within) : self.slashBudget;
    }

    /// @notice Takes a slash of at most `slashable`.
    /// @dev From the exit first, because that is the part that will be out of reach first.
    function slash(Stake memory self, uint64 amount, uint256 time) internal pure {
        self.slashBudget -= amount;
        if (self.withdrawAt > time) {
            uint64 part = amount < self.exiting ? amount : self.exiting;
            amount -= part;
            self.exiting -= part;
            if (self.exiting == 0) self.withdrawAt = 0;
        }
        self.staked -= amount;
    }

    /// @notice Writes a stake in one store; field by field would read and write the word five times.
    function save(Stake storage self, Stake memory value) internal {
        uint256 word = uint256(value.staked) | (uint256(value.exiting) << 64) | (uint256(value.withdrawAt) << 128)
            | (uint256(value.epoch) << 160) | (uint256(value.slashBudget) << 192);
        assembly ("memory-safe") {
            sstore(self.slot, word)
        }
    }

    /// @dev What a slash can reach: everything but an exit whose delay is over.
    function _within(Stake memory self, uint256 time) private pure returns (uint256) {
        return uint256(self.staked) + (self.withdrawAt > time ? self.exiting : 0);
    }
}
