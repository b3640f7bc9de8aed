// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {ISettlement} from "../../../src/interfaces/ISettlement.sol";
import {KeeperStatus} from "../../../src/types/KeeperState.sol";
import {ClaimItem, ClaimItems} from "../../utils/ClaimItems.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract VoidTest is SettlementFixture {
    function setUp() public override {
        super.setUp();
        _start();
    }

    function _send() private {
        vm.prank(stranger);
        settlement.void(keeper, ann);
    }

    function test_RevertGiven_NothingPending() external {
        vm.expectRevert(abi.encodeWithSelector(ISettlement.BatchNotPending.selector, keeper, 1));
        _send();
    }

    function test_RevertGiven_NotChallenged() external {
        _heartbeat();
        _challenge(bob, 1);
        _skip(R + 1);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.NotChallenged.selector, keeper, 1, ann));
        _send();
    }

    function test_RevertWhen_TheDeadlineHasNotPassed() external {
        _heartbeat();
        _challenge(ann, 1);
        _skip(R);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.TooEarly.selector, block.timestamp + 1));
        _send();
    }

    function test_WhenTheDeadlineHasPassed() external {
        _commitAnn(100);
        _challenge(ann, 150);
        _skip(R + 1);
        uint256 supply = token.totalSupply();
        vm.expectEmit(address(settlement));
        emit ISettlement.BatchVoided(keeper, 1, ann, BOND - BOND / 10);
        _send();
        _assertStatus(KeeperStatus.WoundDown);
        vm.assertEq(_keeper().endedAt, block.timestamp, "wound at");
        vm.assertEq(_keeper().bond, 0, "bond");
        vm.assertEq(token.balanceOf(ann), BOND / 10, "a tenth for the provider");
        vm.assertEq(supply - token.totalSupply(), BOND - BOND / 10, "the rest is burned");

        _skip(10 * W);
        vm.assertFalse(settlement.isFinal(keeper, 1), "a void batch is never final");
        ClaimItem[] memory items = new ClaimItem[](1);
        items[0] = ClaimItem({batch: 1, amount: 99, index: 0, proof: ""});
        vm.expectRevert(abi.encodeWithSelector(ISettlement.BatchNotFinal.selector, keeper, 1));
        settlement.claim(keeper, ann, ClaimItems.pack(items));
        vm.assertEq(settlement.fees(), 0, "no fee");
        vm.expectRevert(abi.encodeWithSelector(IEscrow.WrongKeeperStatus.selector, keeper, KeeperStatus.WoundDown));
        _send();
    }
}
