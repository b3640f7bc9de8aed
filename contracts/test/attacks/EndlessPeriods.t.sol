// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Settlement} from "../../src/Settlement.sol";
import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {Periods} from "../../src/types/Settings.sol";
import {SettlementFixture} from "../utils/SettlementFixture.sol";
import {vm} from "../utils/Vm.sol";

/// @notice Periods given in milliseconds by mistake would lock money in for decades.
contract EndlessPeriodsTest is SettlementFixture {
    function _refuses(Periods memory p, bytes32 period, uint256 given) private {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.PeriodTooLong.selector, period, given, 365 days));
        new Settlement(address(token), p, _settings());
    }

    function test_ADeploymentFromWhichNobodyCanWithdrawIsRefused() external {
        Periods memory p = _periods();
        p.thaw = type(uint32).max;
        _refuses(p, "THAW", type(uint32).max);
        p = _periods();
        p.challenge = 24 hours * 1000;
        _refuses(p, "W", 24 hours * 1000);
    }
}
