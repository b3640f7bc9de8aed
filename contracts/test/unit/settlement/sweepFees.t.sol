// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract SweepFeesTest is SettlementFixture {
    function test_PaysTheTreasuryOnce() external {
        _start();
        _commitAnn(10_000);
        bytes memory direct = _direct(20_000);
        vm.prank(keeper);
        settlement.redeem(keeper, direct);
        vm.assertEq(settlement.fees(), 100, "a pending batch's fee does not count");
        _skip(W);
        _collect(20_001);
        vm.expectEmit(address(settlement));
        emit IEscrow.FeesSwept(treasury, 200);
        vm.prank(stranger);
        settlement.sweepFees();
        vm.assertEq(token.balanceOf(treasury), 200, "paid");
        vm.assertEq(settlement.fees(), 0, "fees");
        settlement.sweepFees();
        vm.assertEq(token.balanceOf(treasury), 200, "and only once");
    }
}
