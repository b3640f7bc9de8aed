// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../../../src/interfaces/ISettlement.sol";
import {Packed} from "../../../src/libraries/Packed.sol";
import {ClaimItem, ClaimItems} from "../../utils/ClaimItems.sol";
import {Leaf, ReferenceTree} from "../../utils/ReferenceTree.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract DistributeTest is SettlementFixture {
    using ReferenceTree for Leaf[];
    using ReferenceTree for ReferenceTree.Node[];

    Leaf[] private leaves;

    /// @dev Batch 1 owes ann 50, bob 40 and cat 9.
    function setUp() public override {
        super.setUp();
        _start();
        _collect(100);
        leaves.push(Leaf(ann, 50));
        leaves.push(Leaf(bob, 40));
        leaves.push(Leaf(cat, 9));
        _commit(leaves);
    }

    function _send(uint32 number, bytes memory packed) private {
        vm.prank(stranger);
        settlement.distribute(keeper, number, packed);
    }

    function _claimAnn() private {
        ClaimItem[] memory items = new ClaimItem[](1);
        Leaf[] memory all = leaves;
        items[0] = ClaimItem({batch: 1, amount: 50, index: 0, proof: all.nodes().proof(0)});
        settlement.claim(keeper, ann, ClaimItems.pack(items));
    }

    function test_RevertWhen_TheListIsMalformed() external {
        _skip(W);
        vm.expectRevert(abi.encodeWithSelector(Packed.MalformedList.selector, 0, 28));
        _send(1, "");
        vm.expectRevert(abi.encodeWithSelector(Packed.MalformedList.selector, 27, 28));
        _send(1, new bytes(27));
    }

    function test_RevertGiven_NotFinal() external {
        bytes memory packed = ReferenceTree.pack(leaves);
        _skip(W - 1);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.BatchNotFinal.selector, keeper, 1));
        _send(1, packed);
        _skip(1);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.BatchNotFinal.selector, keeper, 2));
        _send(2, packed);
    }

    function test_RevertGiven_SomethingWasClaimed() external {
        _skip(W);
        _claimAnn();
        bytes memory packed = ReferenceTree.pack(leaves);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.AlreadyPaid.selector, keeper, 1));
        _send(1, packed);
    }

    function test_RevertGiven_Distributed() external {
        _skip(W);
        bytes memory packed = ReferenceTree.pack(leaves);
        _send(1, packed);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.AlreadyPaid.selector, keeper, 1));
        _send(1, packed);
    }

    function test_RevertWhen_TheLeavesDiffer() external {
        _skip(W);
        leaves[0] = Leaf(stranger, 50);
        vm.expectPartialRevert(ISettlement.LeavesMismatch.selector);
        _send(1, ReferenceTree.pack(leaves));
    }

    function test_RevertWhen_ALeafIsMissing() external {
        _skip(W);
        leaves.pop();
        vm.expectPartialRevert(ISettlement.LeavesMismatch.selector);
        _send(1, ReferenceTree.pack(leaves));
    }

    function test_RevertWhen_TheBatchIsEmpty() external {
        _skip(W);
        _heartbeat();
        _skip(W);
        bytes memory packed = ReferenceTree.pack(_leaves(ann, 0));
        vm.expectPartialRevert(ISettlement.LeavesMismatch.selector);
        _send(2, packed);
    }

    function test_RevertWhen_TheRootSumsMoreThanCommitted() external {
        _skip(W);
        _collect(200);
        Leaf[] memory rich = _leaves(ann, 1000);
        vm.prank(keeper);
        settlement.commit(rich.nodes().root().hash, 99, 0, 0, 0, 0);
        _skip(W);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.LeavesMismatch.selector, rich.nodes().root().hash, 1000));
        _send(2, rich.pack());
    }

    function test_WhenTheyRebuildTheRoot() external {
        _skip(W);
        vm.expectEmit(address(settlement));
        emit ISettlement.Distributed(keeper, 1, 99);
        _send(1, ReferenceTree.pack(leaves));
        vm.assertEq(token.balanceOf(ann), 50, "ann");
        vm.assertEq(token.balanceOf(bob), 40, "bob");
        vm.assertEq(token.balanceOf(cat), 9, "cat");
        vm.assertTrue(settlement.distributed(keeper, 1), "marked");
        vm.assertFalse(settlement.distributed(keeper, 2), "and only this one");
        _claimAnn();
        vm.assertEq(token.balanceOf(ann), 50, "nothing left to claim");
        vm.assertEq(settlement.paid(keeper, ann, 1), 0, "no claim was paid");
    }

    /// @dev The marks of 128 batches share a word; these stand on both sides of its end.
    function test_MarksOfManyBatches() external {
        _skip(W);
        while (_number() < 126) {
            _heartbeat();
            _skip(W);
        }
        Leaf[][5] memory trees;
        for (uint256 i; i < 5; ++i) {
            trees[i] = _commitAnn(_channel().spent + 1000 + uint64(i));
            _skip(W);
        }
        for (uint256 i; i < 5; i += 2) {
            uint32 number = uint32(126 + i);
            ClaimItem[] memory items = new ClaimItem[](1);
            items[0] = ClaimItem({batch: number, amount: trees[i][0].amount, index: 0, proof: ""});
            settlement.claim(keeper, ann, ClaimItems.pack(items));
            vm.expectRevert(abi.encodeWithSelector(ISettlement.AlreadyPaid.selector, keeper, number));
            settlement.distribute(keeper, number, trees[i].pack());
        }
        for (uint256 i = 1; i < 5; i += 2) {
            settlement.distribute(keeper, uint32(126 + i), trees[i].pack());
        }
        for (uint256 i; i < 5; ++i) {
            vm.assertEq(settlement.distributed(keeper, uint32(126 + i)), i % 2 == 1, "each batch has its own mark");
        }
    }
}
