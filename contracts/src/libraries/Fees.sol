// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title Fees: protocol fees in basis points, with the rounding in the name
library Fees {
    uint256 private constant BPS = 10_000;

    /// @notice Fee on a batch's debits, rounded down. The rate is at most 10,000, so it is at most `amount`.
    function feeDown(uint64 amount, uint16 bps) internal pure returns (uint64) {
        return uint64((uint256(amount) * bps) / BPS);
    }

    /// @notice Fee on a direct payment, rounded up.
    /// @dev `amount` is at most 64 bits and `bps` at most 10,000: no overflow, and the result is at most `amount`.
    function feeUp(uint256 amount, uint256 bps) internal pure returns (uint256) {
        unchecked {
            return (amount * bps + (BPS - 1)) / BPS;
        }
    }
}
