// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @notice What a keeper committed for one batch. Three storage words, never changed after `commit`.
struct Batch {
    /// @dev Nano that the earnings tree pays out.
    uint64 sum;
    /// @dev Protocol fee, added to the fees once the batch is final.
    uint64 fee;
    /// @dev Nano that the usage lines add up to.
    uint64 linesSum;
    /// @dev 0 means not committed.
    uint32 committedAt;
    /// @dev `SumTree.commitment` of the earnings tree's root and sum; 0 for an empty tree.
    bytes32 earnings;
    /// @dev The same of the usage lines.
    bytes32 lines;
}

/// @notice The highest earnings that a provider was promised in a batch, and when the keeper's time to prove them ends.
struct Challenge {
    uint64 owed;
    /// @dev 0 means answered, or never opened.
    uint32 deadline;
}

/// @notice What one batch paid in a claim.
struct Payment {
    uint32 batch;
    uint64 amount;
}
