// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @notice How much the minter may have minted by when: nothing before `start`, `total` from `start + duration` on, and
/// in between in proportion to the time passed. With a duration of zero, all of it at `start`.
struct Emission {
    /// @dev All that will ever be minted after deployment, in nano.
    uint64 total;
    /// @dev Unix seconds.
    uint32 start;
    /// @dev Seconds.
    uint32 duration;
}
