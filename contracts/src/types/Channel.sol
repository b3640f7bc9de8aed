// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @notice A client's deposit with one keeper, spent by one session key. One storage word.
/// @dev `settled` is stale while `batch` is below the keeper's batch: everything up to `spent` has then been paid out.
struct Channel {
    /// @dev Nano deposited over the channel's life, less what was withdrawn.
    uint64 deposit;
    /// @dev Highest total that the session key signed and that reached the chain.
    uint64 spent;
    /// @dev Part of `spent` that has left the channel for good.
    uint64 settled;
    /// @dev Batch that the last debit belongs to.
    uint32 batch;
    /// @dev When a closing channel may be withdrawn; 0 while it is not closing.
    uint32 thawAt;
}

/// @notice Where a channel's money is, with everything that became final counted.
struct Balances {
    /// @dev What the session key can still spend.
    uint64 available;
    /// @dev The same once the channel is closing: spendable until the payer withdraws it.
    uint64 thawing;
    /// @dev Spent in batches that are not final: an honest wind-down may still move it among providers.
    uint64 atRisk;
    /// @dev Left the channel for good.
    uint64 settled;
    /// @dev When `thawing` can be withdrawn; 0 while the channel is not closing.
    uint32 thawAt;
}
