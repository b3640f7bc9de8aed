// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Periods} from "../../src/types/Settings.sol";
import {Network} from "./Network.sol";

/// @title ChainProfile
/// @notice What a deployment owes to the kind of chain that it goes to. docs/chains.md gives the reasons.
library ChainProfile {
    /// @dev The slowest reaction that a party with a person behind it may need.
    uint32 private constant REACTION = 12 hours;
    /// @dev Enough for every `recover`, with a weekend in between.
    uint32 private constant RECOVERY = 7 days;

    /// @notice There is no such kind of chain.
    error UnknownProfile(string profile);

    /// @notice The chain is known to be of another kind.
    error WrongProfile(uint256 chainId, string given, string expected);

    /// @notice The node serves another chain than the file is for.
    error WrongChain(uint256 chainId, uint256 expected);

    /// @notice A period is shorter than the chain's kind allows, in seconds.
    error PeriodTooShort(string profile, string period, uint256 given, uint256 required);

    /// @notice An address of the file is still empty.
    error AddressMissing(string key);

    /// @notice On a public chain the owner is a contract: a timelock or a multisignature wallet.
    error OwnerWithoutCode(address owner);

    /// @notice The guardian can pause and the owner can unpause: two roles, two accounts.
    error GuardianIsOwner(address owner);

    /// @notice A timelock that is deployed here is the owner: the file must not name another.
    error TwoOwners(address owner);

    /// @notice Nobody could ever propose to, or execute from, the timelock.
    error TimelockUnusable(uint256 proposers, uint256 executors);

    /// @notice Reverts unless the network file fits the chain that forge is connected to.
    function check(Network memory n) internal view {
        if (block.chainid != n.chainId) revert WrongChain(block.chainid, n.chainId);
        bytes32 profile = keccak256(bytes(n.profile));
        string memory expected = _known(n.chainId);
        if (bytes(expected).length != 0 && profile != keccak256(bytes(expected))) {
            revert WrongProfile(n.chainId, n.profile, expected);
        }
        _checkRoles(n);
        if (profile == keccak256("op-stack")) {
            _checkPeriods(n, 12 hours);
        } else if (profile == keccak256("arbitrum")) {
            _checkPeriods(n, 24 hours);
        } else if (profile != keccak256("local")) {
            revert UnknownProfile(n.profile);
        } else if (bytes(expected).length == 0) {
            // Anyone could finalise fraud within seconds: such periods are for the known development chains only.
            revert WrongProfile(n.chainId, n.profile, "op-stack or arbitrum");
        }
    }

    /// @dev The contract itself checks the others against these two.
    function _checkPeriods(Network memory n, uint256 inclusion) private view {
        Periods memory p = n.periods;
        _requireAtLeast(n.profile, "inclusion", p.inclusion, inclusion);
        _requireAtLeast(n.profile, "reaction", p.reaction, REACTION);
        _requireAtLeast(n.profile, "recovery", p.recovery, RECOVERY);
        if (n.timelock.proposers.length == 0 && n.owner.code.length == 0) revert OwnerWithoutCode(n.owner);
    }

    function _checkRoles(Network memory n) private pure {
        bool hasTimelock = n.timelock.proposers.length != 0 || n.timelock.executors.length != 0;
        if (n.operator == address(0)) revert AddressMissing("operator");
        if (n.settings.guardian == address(0)) revert AddressMissing("settlement.guardian");
        if (!hasTimelock && n.owner == address(0)) revert AddressMissing("owner");
        if (n.settings.guardian == n.owner) revert GuardianIsOwner(n.owner);
        if (!hasTimelock) return;
        if (n.owner != address(0)) revert TwoOwners(n.owner);
        if (n.timelock.proposers.length == 0 || n.timelock.executors.length == 0) {
            revert TimelockUnusable(n.timelock.proposers.length, n.timelock.executors.length);
        }
        for (uint256 i; i < n.timelock.proposers.length; ++i) {
            if (n.timelock.proposers[i] == address(0)) revert AddressMissing("timelock.proposers");
        }
    }

    function _requireAtLeast(string memory profile, string memory period, uint256 given, uint256 required)
        private
        pure
    {
        if (given < required) revert PeriodTooShort(profile, period, given, required);
    }

    /// @dev Chains whose kind is known; empty for all others.
    function _known(uint256 chainId) private pure returns (string memory) {
        // Anvil's and Hardhat's default, and the local network of this repository.
        if (chainId == 31_337 || chainId == 51_866) return "local";
        // OP Mainnet, Base, and their Sepolia twins.
        if (chainId == 10 || chainId == 8453 || chainId == 11_155_420 || chainId == 84_532) return "op-stack";
        // Arbitrum One, Nova, Sepolia.
        if (chainId == 42_161 || chainId == 42_170 || chainId == 421_614) return "arbitrum";
        return "";
    }
}
