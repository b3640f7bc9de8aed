// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @notice What a provider has at stake. One storage word.
struct Stake {
    /// @dev Stays until the provider unstakes it.
    uint64 staked;
    /// @dev On its way out.
    uint64 exiting;
    /// @dev When `exiting` can be withdrawn; until then it can still be slashed. 0 if nothing is exiting.
    uint32 withdrawAt;
    /// @dev The slash epoch in which this was last written: time divided by the epoch's length.
    uint32 epoch;
    /// @dev What may still be slashed in that epoch.
    uint64 slashBudget;
}

/// @notice How providers' stakes are held, as given at deployment. All but the slasher stay for good.
struct RegistrySettings {
    /// @dev The contract whose verdicts slash; zero for none.
    address slasher;
    /// @dev Least stake of a provider that stakes at all, in the token's smallest unit.
    uint64 minimumStake;
    /// @dev Seconds from `unstake` until the stake can be withdrawn.
    uint32 unstakeDelay;
    /// @dev Seconds in a slash epoch.
    uint32 slashEpoch;
    /// @dev Most that one epoch's verdicts may take of the stake that a provider had when the epoch began, in basis points.
    uint16 slashCapBps;
}
