// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {KeeperStatus} from "../../src/types/KeeperState.sol";
import {Voucher} from "../../src/types/Messages.sol";
import {Leaf, ReferenceTree} from "../utils/ReferenceTree.sol";
import {vm} from "../utils/Vm.sol";
import {AttackFixture} from "./AttackFixture.sol";

/// @notice A keeper that follows the protocol is never voided or lapsed, whatever its clients do.
contract HonestKeeperAttacks is AttackFixture {
    using ReferenceTree for Leaf[];
    using ReferenceTree for ReferenceTree.Node[];

    /// @dev 40 at the protocol's fee of 1 %: ann earns 39, the keeper 0.6.
    uint64 private constant TOTAL = 40 * CAPA;
    uint64 private constant EARNED = 39 * CAPA;

    function setUp() public override {
        super.setUp();
        _start();
        _openMallory(keeper, 100 * CAPA);
    }

    /// @dev The keeper accepted a voucher of each client, signs its `collect`, and mallory's lands first. Every second until
    /// the heartbeat ends may be lost to the sequencer, so the keeper has one attempt.
    function test_AClientCannotUndoACollectByRedeemingItsOwnVoucher() external {
        bytes memory list = bytes.concat(
            _item(_voucher(1, TOTAL, ann, EARNED)), _sign(MALLORY_SESSION_KEY, _malloryVoucher(1, TOTAL, ann, EARNED))
        );
        bytes memory direct = _sign(MALLORY_SESSION_KEY, _malloryVoucher(0, TOTAL, keeper, TOTAL));
        vm.prank(mallory);
        try settlement.redeem(keeper, direct) {} catch {}
        _mustSucceed(keeper, abi.encodeCall(ISettlement.collect, (list)));
        Leaf[] memory leaves = _leaves(ann, 2 * EARNED, keeper, 2 * (TOTAL - TOTAL / 100 - EARNED));
        _commit(leaves);
        _challenge(ann, 2 * EARNED);
        settlement.answer(keeper, ann, 2 * EARNED, 0, leaves.nodes().proof(0));
        _skip(W);
        _assertStatus(KeeperStatus.Active);
        _claim(1, leaves, 0);
        vm.assertEq(token.balanceOf(ann), 2 * EARNED, "ann has what was accepted");
    }

    /// @dev Mallory closes at once after her voucher was accepted, and the keeper collects as late as it may.
    function test_AClientCannotLeaveWithAnAcceptedVoucher() external {
        bytes memory item = _sign(MALLORY_SESSION_KEY, _malloryVoucher(2, TOTAL, ann, EARNED));
        vm.prank(mallory);
        settlement.close(mallorySession, keeper);
        // The open batch uses its whole heartbeat, challenge and answer periods, and the next one its heartbeat.
        _skip(T);
        _heartbeat();
        _skip(W - 1);
        // A client pays keeper and provider nothing by this; it only delays.
        _collectableOnlyAfter(item);
        vm.assertEq(_channelOf(mallory, mallorySession, keeper).spent, TOTAL, "collected before the thaw");
    }

    function _collectableOnlyAfter(bytes memory item) private {
        bytes memory data = abi.encodeCall(ISettlement.collect, (item));
        _mustFail(keeper, data, bytes4(keccak256("BatchPending(address,uint32)")));
        _skip(1 + R + T);
        _mustSucceed(keeper, data);
    }

    function test_AForgedPromiseCannotEndAKeeper() external {
        _heartbeat();
        bytes memory forged = _acceptanceBy(MALLORY_KEY, mallory, 1, 1);
        bytes memory data = abi.encodeCall(ISettlement.challenge, (keeper, forged));
        _mustFail(mallory, data, ISettlement.NotSignedByKeeper.selector);
        data = abi.encodeCall(ISettlement.void, (keeper, mallory));
        _mustFail(mallory, data, ISettlement.NotChallenged.selector);
    }

    /// @dev Every provider challenges with what it was truly promised, in the last second.
    function test_AKeeperAnswersEveryTrueChallenge() external {
        Voucher memory v = _voucher(1, TOTAL, ann, EARNED);
        _collectItems(_item(v));
        Leaf[] memory leaves = new Leaf[](3);
        leaves[0] = Leaf(ann, 20 * CAPA);
        leaves[1] = Leaf(bob, 19 * CAPA);
        leaves[2] = Leaf(keeper, TOTAL - TOTAL / 100 - EARNED);
        _commit(leaves);
        _skip(W - 1);
        _challenge(ann, 20 * CAPA);
        _challenge(bob, 19 * CAPA);
        vm.assertEq(_keeper().open, 2, "two open");
        _skip(R);
        settlement.answer(keeper, ann, 20 * CAPA, 0, leaves.nodes().proof(0));
        settlement.answer(keeper, bob, 19 * CAPA, 1, leaves.nodes().proof(1));
        vm.assertTrue(settlement.isFinal(keeper, 1), "final");
        _skip(T);
        bytes memory data = abi.encodeCall(ISettlement.lapse, (keeper));
        _mustFail(mallory, data, bytes4(keccak256("TooEarly(uint256)")));
        _heartbeat();
    }

    function test_ALapseInTheLastSecondIsRefused() external {
        _skip(T);
        _mustFail(mallory, abi.encodeCall(ISettlement.lapse, (keeper)), bytes4(keccak256("TooEarly(uint256)")));
        _heartbeat();
        _skip(W + T);
        _mustFail(mallory, abi.encodeCall(ISettlement.lapse, (keeper)), bytes4(keccak256("TooEarly(uint256)")));
    }
}
