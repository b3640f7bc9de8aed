// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {Calls} from "../utils/Calls.sol";
import {Leaf, ReferenceTree} from "../utils/ReferenceTree.sol";
import {vm} from "../utils/Vm.sol";
import {AttackFixture} from "./AttackFixture.sol";

/// @notice Later batches cannot touch earlier money. Batch 1 is final: 40 CAPA debited, 39.6 of them ann's.
contract LaterBatchesAttacks is AttackFixture {
    using ReferenceTree for Leaf[];
    using ReferenceTree for ReferenceTree.Node[];

    uint64 private constant SUM = 39_600_000_000;

    Leaf[] private first;

    function setUp() public override {
        super.setUp();
        _start();
        Leaf[] memory leaves = _commitAnn(40 * CAPA);
        first.push(leaves[0]);
        _skip(W);
    }

    function test_AWindDownLeavesFinalEarningsClaimable() external {
        _collect(90 * CAPA);
        _commitGarbage();
        _void(bob, 1);
        _skip(X);
        vm.assertEq(_withdraw(), 60 * CAPA, "the client takes what batch 1 did not pay");
        vm.prank(bondOwner);
        settlement.unbond(keeper);
        settlement.sweepFees();
        vm.assertEq(token.balanceOf(address(settlement)), SUM, "only ann's money is left");
        _claim(1, first, 0);
        vm.assertEq(token.balanceOf(ann), SUM, "and it is hers");
    }

    function test_ALaterRootProvesNothingInAnEarlierBatch() external {
        _collect(100 * CAPA);
        Leaf[] memory second = _leaves(mallory, 59_400_000_000);
        _commit(second);
        _skip(W);
        bytes memory data = Calls.claim(keeper, mallory, 1, second[0].amount, 0, "");
        _mustFail(stranger, data, ISettlement.LeafNotProven.selector);
        _claim(2, second, 0);
        _claim(1, first, 0);
        vm.assertEq(token.balanceOf(mallory) - 10_000 * CAPA, 59_400_000_000, "60 less the fee from batch 2");
        vm.assertEq(token.balanceOf(ann), SUM, "batch 1 is untouched");
    }

    function test_ARecoveryCannotTakeWhatAFinalBatchPaid() external {
        _lapse();
        // An accomplice was promised the whole channel for batch 2, at a total that batch 1 has used up already.
        _recover(_recovery(_voucher(2, 40 * CAPA, mallory, 40 * CAPA), 40 * CAPA));
        vm.assertEq(token.balanceOf(mallory), 10_000 * CAPA + BOND * 9 / 100, "nothing of the channel");
        _claim(1, first, 0);
        vm.assertEq(token.balanceOf(ann), SUM, "batch 1 is untouched");
    }

    function test_ARecoveryCannotNameAFinalBatch() external {
        _lapse();
        bytes memory items = _recovery(_voucher(1, 80 * CAPA, mallory, 80 * CAPA), 80 * CAPA);
        _mustFail(stranger, abi.encodeCall(ISettlement.recover, (keeper, items)), ISettlement.WrongBatch.selector);
    }

    function test_AFinalBatchCannotBeChallengedOrAnswered() external {
        bytes memory acceptance = _acceptance(mallory, 1, 100 * CAPA);
        bytes memory data = abi.encodeCall(ISettlement.challenge, (keeper, acceptance));
        _mustFail(stranger, data, ISettlement.BatchNotPending.selector);
        data = abi.encodeCall(ISettlement.void, (keeper, mallory));
        _mustFail(stranger, data, ISettlement.BatchNotPending.selector);
    }

    function test_APendingBatchPaysNothing() external {
        _collect(90 * CAPA);
        Leaf[] memory second = _leaves(mallory, 49_500_000_000);
        _commit(second);
        _skip(W - 1);
        _mustFail(stranger, Calls.claim(keeper, 2, second, 0), ISettlement.BatchNotFinal.selector);
        _mustFail(stranger, Calls.distribute(keeper, 2, second), ISettlement.BatchNotFinal.selector);
    }
}
