// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../../../src/interfaces/ISettlement.sol";
import {Payment} from "../../../src/types/Batch.sol";
import {ClaimItem, ClaimItems} from "../../utils/ClaimItems.sol";
import {Leaf, ReferenceTree} from "../../utils/ReferenceTree.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract ClaimTest is SettlementFixture {
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

    function _itemOf(uint32 number, Leaf[] memory all, uint256 index) private pure returns (ClaimItem memory) {
        return
            ClaimItem({batch: number, amount: all[index].amount, index: uint32(index), proof: all.nodes().proof(index)});
    }

    function _one(ClaimItem memory item) private pure returns (ClaimItem[] memory items) {
        items = new ClaimItem[](1);
        items[0] = item;
    }

    function _send(address provider, ClaimItem[] memory items) private {
        vm.prank(stranger);
        settlement.claim(keeper, provider, ClaimItems.pack(items));
    }

    function test_RevertGiven_NotFinal() external {
        ClaimItem[] memory items = _one(_itemOf(1, leaves, 0));
        _skip(W - 1);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.BatchNotFinal.selector, keeper, 1));
        _send(ann, items);
    }

    function test_RevertWhen_TheLeafIsNotProven() external {
        _skip(W);
        ClaimItem memory item = _itemOf(1, leaves, 0);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.LeafNotProven.selector, 1, bob, 50));
        _send(bob, _one(item));
        item.amount = 51;
        vm.expectRevert(abi.encodeWithSelector(ISettlement.LeafNotProven.selector, 1, ann, 51));
        _send(ann, _one(item));
    }

    function test_RevertGiven_NoSuchBatch() external {
        vm.expectRevert(abi.encodeWithSelector(ISettlement.LeafNotProven.selector, 0, ann, 50));
        _send(ann, _one(ClaimItem({batch: 0, amount: 50, index: 0, proof: ""})));
    }

    function test_RevertGiven_Empty() external {
        _skip(W);
        _heartbeat();
        _skip(W);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.LeafNotProven.selector, 2, ann, 1));
        _send(ann, _one(ClaimItem({batch: 2, amount: 1, index: 0, proof: ""})));
    }

    function test_RevertWhen_TheTreeHoldsMore() external {
        _skip(W);
        _collect(200);
        Leaf[] memory rich = _leaves(ann, 99, bob, 99);
        vm.prank(keeper);
        settlement.commit(rich.nodes().root().hash, 99, 0, 0, 0, 0);
        _skip(W);
        ClaimItem[] memory items = _one(_itemOf(2, rich, 0));
        vm.expectRevert(abi.encodeWithSelector(ISettlement.LeafNotProven.selector, 2, ann, 99));
        _send(ann, items);
    }

    function test_GivenDistributed() external {
        _skip(W);
        settlement.distribute(keeper, 1, ReferenceTree.pack(leaves));
        _send(ann, _one(_itemOf(1, leaves, 0)));
        vm.assertEq(token.balanceOf(ann), 50, "paid once");
    }

    function test_WhenPaidAlready() external {
        _skip(W);
        ClaimItem[] memory items = new ClaimItem[](2);
        items[0] = _itemOf(1, leaves, 0);
        items[1] = items[0];
        _send(ann, items);
        vm.assertEq(token.balanceOf(ann), 50, "once in a list");
        items[0].proof = "";
        _send(ann, items);
        vm.assertEq(token.balanceOf(ann), 50, "once over all calls");
    }

    function test_WhenTwoLeaves() external {
        _skip(W);
        _collect(200);
        Leaf[] memory two = _leaves(ann, 40, ann, 59);
        _commit(two);
        _skip(W);
        ClaimItem[] memory items = new ClaimItem[](2);
        items[0] = _itemOf(2, two, 0);
        items[1] = _itemOf(2, two, 1);
        Payment[] memory payments = new Payment[](2);
        payments[0] = Payment(2, 40);
        payments[1] = Payment(2, 19);
        vm.expectEmit(address(settlement));
        emit ISettlement.Claimed(keeper, ann, 59, payments);
        _send(ann, items);
        vm.assertEq(token.balanceOf(ann), 59, "the larger");
        vm.assertEq(settlement.paid(keeper, ann, 2), 59, "paid");
    }

    function test_WhenProven() external {
        _skip(W);
        for (uint256 i; i < leaves.length; ++i) {
            Payment[] memory payments = new Payment[](1);
            payments[0] = Payment(1, leaves[i].amount);
            vm.expectEmit(address(settlement));
            emit ISettlement.Claimed(keeper, leaves[i].provider, leaves[i].amount, payments);
            _send(leaves[i].provider, _one(_itemOf(1, leaves, i)));
            vm.assertEq(token.balanceOf(leaves[i].provider), leaves[i].amount, "balance");
            vm.assertEq(settlement.paid(keeper, leaves[i].provider, 1), leaves[i].amount, "paid");
        }
        vm.assertEq(token.balanceOf(stranger), 0, "the caller gets nothing");
    }

    /// @dev More batches than share a word of `paid`.
    function test_WhenSeveralBatches() external {
        ClaimItem[] memory items = new ClaimItem[](6);
        items[0] = _itemOf(1, leaves, 0);
        uint256 sum = 50;
        for (uint32 n = 2; n <= 6; ++n) {
            _skip(W);
            uint64 amount = 99 - n;
            _collect(uint64(n) * 100);
            Leaf[] memory two = _leaves(ann, amount, bob, n);
            _commit(two);
            items[n - 1] = _itemOf(n, two, 0);
            sum += amount;
        }
        _skip(W);
        vm.expectCall(address(token), abi.encodeWithSelector(token.transfer.selector, ann, sum), 1);
        _send(ann, items);
        vm.assertEq(token.balanceOf(ann), sum, "all batches");
        for (uint32 n = 2; n <= 6; ++n) {
            vm.assertEq(settlement.paid(keeper, ann, n), 99 - n, "each batch apart");
            vm.assertFalse(settlement.distributed(keeper, n), "claimed, not distributed");
        }
    }

    function test_WhenWoundDown() external {
        _skip(W);
        _lapse();
        _send(ann, _one(_itemOf(1, leaves, 0)));
        vm.assertEq(token.balanceOf(ann), 50, "final batches stay claimable");
    }

    function test_RevertWhen_TheListIsEmptyOrCut() external {
        _skip(W);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.ClaimTruncated.selector, 0));
        settlement.claim(keeper, ann, "");
        bytes memory item = ClaimItems.pack(_itemOf(1, leaves, 0));
        bytes memory cut = new bytes(item.length - 1);
        for (uint256 i; i < cut.length; ++i) {
            cut[i] = item[i];
        }
        vm.expectRevert(abi.encodeWithSelector(ISettlement.ClaimTruncated.selector, 0));
        settlement.claim(keeper, ann, cut);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.ClaimTruncated.selector, item.length));
        settlement.claim(keeper, ann, bytes.concat(item, cut));
        vm.expectRevert(abi.encodeWithSelector(ISettlement.ClaimTruncated.selector, item.length));
        settlement.claim(keeper, ann, bytes.concat(item, hex"00000001"));
        vm.assertEq(token.balanceOf(ann), 0, "nothing paid");
    }

    function test_RevertWhen_TheDepthOrIndexIsTooLarge() external {
        _skip(W);
        ClaimItem memory item = _itemOf(1, leaves, 0);
        item.index |= 4;
        vm.expectRevert(abi.encodeWithSelector(ISettlement.LeafNotProven.selector, 1, ann, 50));
        _send(ann, _one(item));
        item.index = 0;
        item.proof = new bytes(33 * 40);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.LeafNotProven.selector, 1, ann, 50));
        _send(ann, _one(item));
    }

    /// @dev An unproven item must not keep the batch from being distributed.
    function test_WhenTheAmountIsZero() external {
        _skip(W);
        vm.expectCall(address(token), abi.encodeWithSelector(token.transfer.selector), 3);
        _send(ann, _one(ClaimItem({batch: 1, amount: 0, index: 0, proof: ""})));
        settlement.distribute(keeper, 1, ReferenceTree.pack(leaves));
    }
}
