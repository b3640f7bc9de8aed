// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Settlement} from "../../src/Settlement.sol";
import {Periods, Settings} from "../../src/types/Settings.sol";

/// @notice Which periods a settlement can be deployed with, for every choice of all eight.
contract PeriodsSymbolicTest {
    /// @notice Whatever the constructor accepts satisfies the protocol's table of times, is no longer than a year, and reads back as it was given.
    function check_acceptedPeriodsAreSafe(Periods calldata p) external {
        Settings memory settings =
            Settings({owner: address(this), guardian: address(0), treasury: address(this), minimumBond: 1, feeBps: 0});
        try new Settlement(address(this), p, settings) returns (Settlement settlement) {
            assert(_isSafe(p));
            assert(keccak256(abi.encode(settlement.periods())) == keccak256(abi.encode(p)));
        } catch {
            assert(!_isSafe(p));
        }
    }

    function _isSafe(Periods calldata p) private pure returns (bool) {
        uint256 reaction = uint256(p.inclusion) + p.reaction;
        uint256 exit =
            2 * (uint256(p.heartbeat) + p.challenge + p.answer) + 3 * uint256(p.inclusion) + uint256(p.reaction);
        return p.reaction != 0 && p.challenge >= reaction && p.answer >= reaction && p.heartbeat >= reaction
            && p.thaw >= exit && p.retirement >= exit && p.recovery >= reaction && _isWithinAYear(p);
    }

    /// @dev The inclusion delay is part of every other period.
    function _isWithinAYear(Periods calldata p) private pure returns (bool) {
        return p.reaction <= 365 days && p.challenge <= 365 days && p.answer <= 365 days && p.heartbeat <= 365 days
            && p.thaw <= 365 days && p.retirement <= 365 days && p.recovery <= 365 days;
    }
}
