// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @notice Where a keeper stands in its life. Closed and WoundDown are terminal: an address is a keeper once.
enum KeeperStatus {
    None,
    Active,
    Retiring,
    Closed,
    WoundDown
}

/// @notice A keeper's account. Two storage words; what most calls need is in the first.
struct KeeperState {
    /// @dev Nano collected for the open batch.
    uint64 debits;
    /// @dev First batch that is not final.
    uint32 batch;
    /// @dev When the current heartbeat period started.
    uint32 since;
    /// @dev When that batch was committed; 0 while it is not.
    uint32 committedAt;
    /// @dev Its challenges that are not answered.
    uint24 open;
    KeeperStatus status;
    /// @dev Protocol fee rate of the batch being collected.
    uint16 feeBps;
    /// @dev Protocol fee rate of the batch after it.
    uint16 nextFeeBps;
    /// @dev Holds the bond and ends the keeper's life; the keeper's own key cannot.
    address owner;
    /// @dev Nano that the keeper forfeits when it breaks a promise.
    uint64 bond;
    /// @dev When it was wound down, if it was; else when it retired, or 0.
    uint32 endedAt;
}
