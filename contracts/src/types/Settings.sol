// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @notice The protocol's times in seconds, fixed at deployment. The letters are those of the protocol description.
struct Periods {
    /// @dev W: how long a committed batch can be challenged.
    uint32 challenge;
    /// @dev R: how long a challenge can be answered.
    uint32 answer;
    /// @dev T: how long a keeper may stay without a commit.
    uint32 heartbeat;
    /// @dev THAW: how long a closing channel waits for its withdrawal.
    uint32 thaw;
    /// @dev U: how long a retiring keeper waits for its bond.
    uint32 retirement;
    /// @dev X: how long providers can recover from a keeper that was wound down.
    uint32 recovery;
    /// @dev F: the chain's forced-inclusion delay.
    uint32 inclusion;
    /// @dev D: the slowest reaction that a party may need.
    uint32 reaction;
}

/// @notice What governance can change later, as given at deployment.
struct Settings {
    /// @dev Sets the fee rate, the minimum bond, the treasury and the guardian.
    address owner;
    /// @dev May pause new channels, deposits and bonds, and nothing else.
    address guardian;
    /// @dev Receives the protocol fees.
    address treasury;
    /// @dev Least bond of a new keeper, in nano.
    uint64 minimumBond;
    /// @dev Protocol fee rate in basis points, at most 500.
    uint16 feeBps;
}
