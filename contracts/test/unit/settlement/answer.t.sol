// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../../../src/interfaces/ISettlement.sol";
import {Leaf, ReferenceTree} from "../../utils/ReferenceTree.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract AnswerTest is SettlementFixture {
    using ReferenceTree for Leaf[];
    using ReferenceTree for ReferenceTree.Node[];

    bytes private proof;

    /// @dev Batch 1 owes ann 60 and bob 39.
    function setUp() public override {
        super.setUp();
        _start();
        _collect(100);
        Leaf[] memory leaves = _leaves(ann, 60, bob, 39);
        proof = leaves.nodes().proof(0);
        _commit(leaves);
    }

    function _answer(uint64 amount) private {
        vm.prank(stranger);
        settlement.answer(keeper, ann, amount, 0, proof);
    }

    function test_RevertGiven_NothingPending() external {
        _skip(W);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.BatchNotPending.selector, keeper, 2));
        _answer(60);
    }

    function test_RevertGiven_NotChallenged() external {
        vm.expectRevert(abi.encodeWithSelector(ISettlement.NotChallenged.selector, keeper, 1, ann));
        _answer(60);
        _challenge(ann, 60);
        _answer(60);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.NotChallenged.selector, keeper, 1, ann));
        _answer(60);
    }

    function test_RevertWhen_TheDeadlineHasPassed() external {
        _challenge(ann, 60);
        uint256 deadline = block.timestamp + R;
        vm.warp(deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.TooLate.selector, deadline));
        _answer(60);
    }

    function test_RevertWhen_TheAmountIsTooLow() external {
        _challenge(ann, 61);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.AmountBelowOwed.selector, 60, 61));
        _answer(60);
    }

    function test_RevertWhen_TheLeafIsNotProven() external {
        _challenge(ann, 60);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.LeafNotProven.selector, 1, ann, 61));
        _answer(61);
        proof = "";
        vm.expectRevert(abi.encodeWithSelector(ISettlement.LeafNotProven.selector, 1, ann, 60));
        _answer(60);
    }

    function test_WhenProven() external {
        _challenge(ann, 30);
        _skip(R);
        vm.expectEmit(address(settlement));
        emit ISettlement.Answered(keeper, 1, ann);
        _answer(60);
        vm.assertEq(settlement.challenged(keeper, 1, ann).deadline, 0, "closed");
        vm.assertEq(settlement.challenged(keeper, 1, ann).owed, 30, "owed stays as the highest so far");
        vm.assertEq(_keeper().open, 0, "open");
        vm.assertEq(_keeper().since, block.timestamp, "since");
    }

    function test_GivenThePeriodIsOver() external {
        _skip(W - 1);
        _challenge(ann, 60);
        _challenge(bob, 1);
        _skip(R);
        _answer(60);
        vm.assertFalse(settlement.isFinal(keeper, 1), "another is open");
        bytes memory right = _leaves(ann, 60, bob, 39).nodes().proof(1);
        settlement.answer(keeper, bob, 39, 1, right);
        vm.assertTrue(settlement.isFinal(keeper, 1), "final at once");
        _collect(101);
        vm.assertEq(_keeper().since, block.timestamp, "the next batch opens with the answer");
    }
}
