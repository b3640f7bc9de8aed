// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {KeeperStatus} from "../../src/types/KeeperState.sol";
import {Voucher} from "../../src/types/Messages.sol";
import {Leaf, ReferenceTree} from "../utils/ReferenceTree.sol";
import {vm} from "../utils/Vm.sol";
import {AttackFixture} from "./AttackFixture.sol";

/// @notice A provider is paid what the keeper accepted, though the keeper cheats, hides data or disappears. Ann's client is
/// honest; the keeper accepted 30 CAPA for her in batch 1, at a total of 40.
contract ProviderPaymentAttacks is AttackFixture {
    using ReferenceTree for Leaf[];
    using ReferenceTree for ReferenceTree.Node[];

    uint64 private constant OWED = 30_000_000_000;
    uint64 private constant SUM = 39_600_000_000;

    Voucher private first;

    function setUp() public override {
        super.setUp();
        _start();
        first = _voucher(1, 40 * CAPA, ann, OWED);
    }

    function _collectFirst() private {
        _collectItems(_item(first));
    }

    function test_AKeeperThatLeavesAProviderOutPaysWithItsBond() external {
        _collectFirst();
        _commit(_leaves(mallory, SUM));
        _void(ann, OWED);
        vm.assertEq(token.balanceOf(ann), BOND / 10, "a tenth of the bond");
        _recover(_recovery(first, OWED));
        vm.assertEq(token.balanceOf(ann), BOND / 10 + OWED, "and all that was accepted");
        vm.assertEq(_keeper().bond, 0, "the keeper lost its bond");
        vm.assertEq(token.balanceOf(mallory), 10_000 * CAPA, "its accomplice got nothing");
    }

    function test_AKeeperThatHidesItsTreeMustShowTheProof() external {
        _collectFirst();
        Leaf[] memory hidden = _leaves(ann, OWED, keeper, SUM - OWED);
        _commit(hidden);
        _challenge(ann, OWED);
        bytes memory shown = abi.encodeCall(ISettlement.answer, (keeper, ann, OWED, 0, hidden.nodes().proof(0)));
        _mustSucceed(keeper, shown);
        _skip(W);
        // What ann claims with stood in the answer's calldata.
        _claim(1, hidden, 0);
        vm.assertEq(token.balanceOf(ann), OWED, "paid in full");
    }

    function test_AKeeperThatKeepsTheBatchAndVanishesIsPaidBackFromTheChannels() external {
        _collectFirst();
        _lapse();
        _recover(_recovery(first, OWED));
        vm.assertEq(token.balanceOf(ann), OWED, "collected, never committed");
        vm.assertEq(_keeper().bond, BOND - BOND / 10, "silence costs a tenth of the bond");
    }

    function test_AKeeperThatNeverCollectsIsPaidBackFromTheChannels() external {
        _lapse();
        _recover(_recovery(first, OWED));
        vm.assertEq(token.balanceOf(ann), OWED, "accepted, never collected");
        vm.assertEq(_channel().spent, 40 * CAPA, "at the client's total");
        _skip(X);
        vm.assertEq(_withdraw(), 70 * CAPA, "what nobody recovered is the client's");
    }

    function test_BothUnfinishedBatchesAreRecovered() external {
        Voucher memory second = _voucher(2, 70 * CAPA, ann, 20 * CAPA);
        _collectFirst();
        _commitGarbage();
        _void(ann, OWED);
        _recover(bytes.concat(_recovery(second, 20 * CAPA), _recovery(first, OWED)));
        vm.assertEq(token.balanceOf(ann), BOND / 10 + 50 * CAPA, "30 of batch 1 and 20 of batch 2");
    }

    function test_AnAnswerMustProveWhatWasPromised() external {
        _collectFirst();
        Leaf[] memory leaves = _leaves(ann, OWED - 1, keeper, SUM - OWED + 1);
        _commit(leaves);
        _challenge(ann, OWED);
        bytes memory proof = leaves.nodes().proof(0);
        bytes memory low = abi.encodeCall(ISettlement.answer, (keeper, ann, OWED - 1, 0, proof));
        bytes memory lie = abi.encodeCall(ISettlement.answer, (keeper, ann, OWED, 0, proof));
        _mustFail(keeper, low, ISettlement.AmountBelowOwed.selector);
        _mustFail(keeper, lie, ISettlement.LeafNotProven.selector);
    }

    function test_AnAnswerAfterItsDeadlineSavesNobody() external {
        _collectFirst();
        Leaf[] memory leaves = _leaves(ann, OWED, keeper, SUM - OWED);
        _commit(leaves);
        _challenge(ann, OWED);
        _skip(R + 1);
        bytes memory proof = leaves.nodes().proof(0);
        bytes memory data = abi.encodeCall(ISettlement.answer, (keeper, ann, OWED, 0, proof));
        _mustFail(keeper, data, ISettlement.TooLate.selector);
        settlement.void(keeper, ann);
        _assertStatus(KeeperStatus.WoundDown);
    }

    /// @dev An accomplice challenges with a higher promise, so that ann's own challenge is refused: it does her work.
    function test_AHigherChallengeInAProvidersNameProtectsIt() external {
        _collectFirst();
        _commit(_leaves(mallory, SUM));
        _challenge(ann, OWED + 1);
        bytes memory own = abi.encodeCall(ISettlement.challenge, (keeper, _acceptance(ann, 1, OWED)));
        _mustFail(ann, own, ISettlement.OwedNotAbove.selector);
        _skip(R + 1);
        settlement.void(keeper, ann);
        _recover(_recovery(first, OWED));
        vm.assertEq(token.balanceOf(ann), BOND / 10 + OWED, "as if she had challenged herself");
    }

    /// @dev Every challenge at the last second and every answer at the last second.
    function test_ChallengesCannotDelayABatchBeyondItsDeadlines() external {
        _collectFirst();
        Leaf[] memory leaves = _leaves(ann, OWED, keeper, SUM - OWED);
        _commit(leaves);
        uint256 committedAt = block.timestamp;
        _skip(W - 1);
        _challenge(ann, OWED);
        _skip(R);
        settlement.answer(keeper, ann, OWED, 0, leaves.nodes().proof(0));
        vm.assertEq(block.timestamp - committedAt, W + R - 1, "W and R, less the second that W excludes");
        vm.assertTrue(settlement.isFinal(keeper, 1), "final at once");
        bytes memory again = abi.encodeCall(ISettlement.challenge, (keeper, _acceptance(ann, 1, OWED + 1)));
        _mustFail(stranger, again, ISettlement.BatchNotPending.selector);
    }

    function test_ARecoveryByAStrangerWithAnOldVoucherTakesNothingAway() external {
        _lapse();
        _recover(_recovery(_voucher(1, 10 * CAPA, ann, 8 * CAPA), 8 * CAPA));
        vm.assertEq(token.balanceOf(ann), 8 * CAPA, "the old voucher pays 8");
        _recover(_recovery(first, OWED));
        vm.assertEq(token.balanceOf(ann), OWED, "the new one the other 22");
        _recover(_recovery(first, OWED));
        vm.assertEq(token.balanceOf(ann), OWED, "and a repetition nothing");
        vm.assertEq(_keeper().bond, BOND - BOND / 10, "nothing of it was short");
    }

    /// @dev Each channel pays only for itself: a client that signed the world elsewhere costs ann nothing.
    function test_ADishonestClientOfTheSameKeeperCostsAProviderNothing() external {
        _openMallory(keeper, 1 * CAPA);
        _lapse();
        _recover(_malloryRecovery(_malloryVoucher(1, 500 * CAPA, mallory, 500 * CAPA), 500 * CAPA));
        _recover(_recovery(first, OWED));
        vm.assertEq(token.balanceOf(ann), OWED, "all of it");
        vm.assertEq(_channel().settled, OWED, "from her own client's channel");
    }
}
