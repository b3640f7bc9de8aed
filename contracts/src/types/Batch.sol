// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @notice What a keeper committed for one batch. Three storage words, fixed from `commit` on except for `open`.
struct Batch {
    /// @dev Nano that the earnings tree pays out.
    uint64 sum;
    /// @dev Protocol fee, added to the fees once the batch is final.
    uint64 fee;
    /// @dev Nano that the usage lines add up to.
    uint64 linesSum;
    /// @dev 0 means not committed.
    uint32 committedAt;
    /// @dev Challenges not yet answered.
    uint32 open;
    bytes32 root;
    bytes32 linesRoot;
}

/// @notice The highest earnings that a provider was promised in a batch, and when the keeper's time to prove them ends.
struct Challenge {
    uint64 owed;
    /// @dev 0 means answered, or never opened.
    uint32 deadline;
}

/// @notice One batch's leaf and proof, for `claim`.
struct ClaimItem {
    uint32 batch;
    uint64 amount;
    uint32 index;
    bytes proof;
}
