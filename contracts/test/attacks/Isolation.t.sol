// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {Calls} from "../utils/Calls.sol";
import {Leaf, ReferenceTree} from "../utils/ReferenceTree.sol";
import {vm} from "../utils/Vm.sol";
import {AttackFixture} from "./AttackFixture.sol";

/// @notice One bad keeper hurts no other's users. Mallory keeps beside the honest keeper, for the same client.
contract IsolationAttacks is AttackFixture {
    using ReferenceTree for Leaf[];
    using ReferenceTree for ReferenceTree.Node[];

    function setUp() public override {
        super.setUp();
        _start();
        _bondMallory();
        vm.prank(client);
        settlement.open(session, mallory, 50 * CAPA);
    }

    /// @dev All that is stored about the honest keeper and its client.
    function _honest() private view returns (bytes32) {
        return keccak256(abi.encode(_keeper(), _channel(), settlement.batch(keeper, 1), settlement.batch(keeper, 2)));
    }

    function _malloryCommits(uint64 total, bytes32 root) private {
        bytes memory item = _sign(SESSION_KEY, _voucherOf(client, mallory, 1, total, bob, total));
        vm.startPrank(mallory);
        settlement.collect(item);
        settlement.commit(root, total - total * FEE_BPS / 10_000, 0, 0, 0, 0);
        vm.stopPrank();
    }

    function test_AWindDownChangesNothingOfAnotherKeeper() external {
        Leaf[] memory leaves = _commitAnn(40 * CAPA);
        bytes32 before = _honest();
        _malloryCommits(50 * CAPA, keccak256("hidden"));
        settlement.challenge(mallory, _acceptanceBy(MALLORY_KEY, bob, 1, 60 * CAPA));
        _skip(R + 1);
        settlement.void(mallory, bob);
        vm.assertEq(_honest(), before, "keeper, channel and batch are as they were");
        _skip(W);
        _claim(1, leaves, 0);
        vm.assertEq(token.balanceOf(ann), 39_600_000_000, "the honest batch pays in full");
        _close();
        _skip(THAW);
        vm.assertEq(_withdraw(), 60 * CAPA, "and its client gets the rest");
    }

    function test_AKeeperCannotSpendADepositWithAnother() external {
        bytes memory item = _sign(SESSION_KEY, _voucherOf(client, mallory, 1, 60 * CAPA, bob, 60 * CAPA));
        _mustFail(mallory, abi.encodeCall(ISettlement.collect, (item)), ISettlement.TotalAboveDeposit.selector);
        vm.assertEq(_channel().deposit, 100 * CAPA, "the client's 100 with the honest keeper are out of reach");
    }

    function test_ABatchCannotBePaidFromAnothersMoney() external {
        Leaf[] memory leaves = _commitAnn(40 * CAPA);
        // A tree that promises both keepers' money.
        Leaf[] memory greedy = _leaves(bob, 49_500_000_000 + 39_600_000_000);
        _malloryCommits(50 * CAPA, greedy.nodes().root().hash);
        _skip(W);
        bytes memory data = Calls.claim(mallory, 1, greedy, 0);
        _mustFail(stranger, data, ISettlement.LeafNotProven.selector);
        _claim(1, leaves, 0);
        vm.assertEq(token.balanceOf(ann), 39_600_000_000, "ann is paid from her own batch");
    }

    function test_ARecoveryTakesNothingFromAnotherKeepersChannels() external {
        uint256 since = settlement.keeper(mallory).since;
        vm.warp(since + T + 1);
        settlement.lapse(mallory);
        // The honest keeper's voucher cannot be recovered from, and mallory cannot accept for it.
        bytes memory items = _recovery(_voucher(1, 40 * CAPA, bob, 40 * CAPA), 40 * CAPA);
        bytes memory data = abi.encodeCall(ISettlement.recover, (keeper, items));
        _mustFail(stranger, data, bytes4(keccak256("WrongKeeperStatus(address,uint8)")));
        data = abi.encodeCall(ISettlement.recover, (mallory, items));
        _mustFail(stranger, data, ISettlement.NotSignedByKeeper.selector);
    }

    function test_OnlyTheOwnerOfABondEndsItsKeeper() external {
        bytes4 reason = bytes4(keccak256("NotBondOwner(address,address,address)"));
        _mustFail(mallory, abi.encodeWithSignature("retire(address)", keeper), reason);
        _mustFail(keeper, abi.encodeWithSignature("retire(address)", keeper), reason);
        _mustFail(keeper, abi.encodeWithSignature("unbond(address)", keeper), reason);
    }
}
