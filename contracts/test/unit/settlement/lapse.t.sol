// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {ISettlement} from "../../../src/interfaces/ISettlement.sol";
import {KeeperStatus} from "../../../src/types/KeeperState.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract LapseTest is SettlementFixture {
    function setUp() public override {
        super.setUp();
        _start();
    }

    function _send() private {
        vm.prank(stranger);
        settlement.lapse(keeper);
    }

    function test_RevertGiven_NotLive() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.WrongKeeperStatus.selector, stranger, KeeperStatus.None));
        settlement.lapse(stranger);
        _lapse();
        vm.expectRevert(abi.encodeWithSelector(IEscrow.WrongKeeperStatus.selector, keeper, KeeperStatus.WoundDown));
        _send();
    }

    function test_RevertGiven_Pending() external {
        _heartbeat();
        _challenge(ann, 1);
        _skip(W + 10 * T);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.BatchPending.selector, keeper, 1));
        _send();
    }

    function test_RevertWhen_TooEarly() external {
        _skip(T);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.TooEarly.selector, block.timestamp + 1));
        _send();
    }

    function test_GivenABatchBecameFinal() external {
        _heartbeat();
        uint256 finalAt = block.timestamp + W;
        vm.warp(finalAt + T);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.TooEarly.selector, finalAt + T + 1));
        _send();
        vm.warp(finalAt + T + 1);
        _send();
        vm.assertEq(_keeper().batch, 2, "the first batch stays final");
    }

    function test_WhenThePeriodHasPassed() external {
        _collect(CAPA);
        _skip(T + 1);
        uint256 supply = token.totalSupply();
        vm.expectEmit(address(settlement));
        emit ISettlement.Lapsed(keeper, 1, BOND / 10);
        _send();
        _assertStatus(KeeperStatus.WoundDown);
        vm.assertEq(_keeper().endedAt, block.timestamp, "wound at");
        vm.assertEq(_keeper().debits, 0, "debits");
        vm.assertEq(_keeper().bond, BOND - BOND / 10, "bond");
        vm.assertEq(supply - token.totalSupply(), BOND / 10, "burned");
        vm.assertEq(_channel().spent, CAPA, "channels are recovered from later");
    }
}
