// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {Calls} from "../utils/Calls.sol";
import {Leaf, ReferenceTree} from "../utils/ReferenceTree.sol";
import {vm} from "../utils/Vm.sol";
import {AttackFixture} from "./AttackFixture.sol";

/// @notice A batch never pays out more than its clients were debited, less the protocol fee, whatever the keeper does.
/// Everywhere 40 CAPA are debited: 0.4 are the fee, 39.6 can be paid.
contract BatchPayoutAttacks is AttackFixture {
    using ReferenceTree for Leaf[];
    using ReferenceTree for ReferenceTree.Node[];

    uint64 private constant SUM = 39_600_000_000;

    function setUp() public override {
        super.setUp();
        _start();
        _collect(40 * CAPA);
    }

    function _commitRoot(bytes32 root) private {
        vm.prank(keeper);
        settlement.commit(root, SUM, 0, 0, 0, 0);
        _skip(W);
    }

    function test_AKeeperCannotPayOutMoreThanItsClientsWereDebited() external {
        // Twice the sum, and the true sum stated beside it.
        Leaf[] memory leaves = _leaves(ann, SUM, mallory, SUM);
        _commitRoot(leaves.nodes().root().hash);
        _mustFail(stranger, Calls.claim(keeper, 1, leaves, 0), ISettlement.LeafNotProven.selector);
        _mustFail(stranger, Calls.claim(keeper, 1, leaves, 1), ISettlement.LeafNotProven.selector);
        _mustFail(stranger, Calls.distribute(keeper, 1, leaves), ISettlement.LeavesMismatch.selector);
        vm.assertEq(token.balanceOf(mallory), 10_000 * CAPA, "mallory got nothing");
    }

    function test_AKeeperCannotStateAnotherSum() external {
        bytes32 root = keccak256("root");
        bytes memory more = abi.encodeCall(ISettlement.commit, (root, SUM + 1, 0, 0, 0, 0));
        bytes memory less = abi.encodeCall(ISettlement.commit, (root, SUM - 1, 0, 0, 0, 0));
        bytes memory gross = abi.encodeCall(ISettlement.commit, (root, 40 * CAPA, 0, 0, 0, 0));
        _mustFail(keeper, more, ISettlement.SumMismatch.selector);
        _mustFail(keeper, less, ISettlement.SumMismatch.selector);
        _mustFail(keeper, gross, ISettlement.SumMismatch.selector);
    }

    function test_AKeeperCannotStateMoreUsageThanWasPaid() external {
        bytes memory data = abi.encodeCall(ISettlement.commit, ("root", SUM, "lines", SUM + 1, 1, 0));
        _mustFail(keeper, data, ISettlement.LinesAboveSum.selector);
    }

    /// @dev A sibling of 2^64 - 50 + 39.6 CAPA makes a leaf of 50 look like a tree of 39.6, if sums are cut to 64 bits.
    function test_ATreeWhoseSumsWrapPaysNothing() external {
        uint64 huge = type(uint64).max - 50 * CAPA + 1 + SUM;
        unchecked {
            vm.assertEq(50 * CAPA + huge, SUM, "the sums wrap to what may be paid");
        }
        bytes32 leaf = ReferenceTree.leaf(Leaf(mallory, 50 * CAPA)).hash;
        bytes memory proof = abi.encodePacked(keccak256("sibling"), huge);
        _commitRoot(keccak256(abi.encodePacked(leaf, 50 * CAPA, proof)));
        bytes memory data = Calls.claim(keeper, mallory, 1, 50 * CAPA, 0, proof);
        _mustFail(stranger, data, ISettlement.LeafNotProven.selector);
    }

    function test_TwoLeavesForOneProviderPayTheLarger() external {
        Leaf[] memory leaves = _leaves(ann, 20 * CAPA, ann, SUM - 20 * CAPA);
        _commitRoot(leaves.nodes().root().hash);
        _claim(1, leaves, 1);
        vm.assertEq(token.balanceOf(ann), 19_600_000_000, "the smaller leaf first");
        _claim(1, leaves, 0);
        vm.assertEq(token.balanceOf(ann), 20 * CAPA, "then up to the larger");
        _claim(1, leaves, 1);
        vm.assertEq(token.balanceOf(ann), 20 * CAPA, "and never both");
    }

    function test_AClaimAndADistributionCannotBothPay() external {
        Leaf[] memory leaves = _leaves(ann, 30 * CAPA, bob, SUM - 30 * CAPA);
        _commitRoot(leaves.nodes().root().hash);
        _claim(1, leaves, 0);
        _mustFail(stranger, Calls.distribute(keeper, 1, leaves), ISettlement.AlreadyPaid.selector);
        _claim(1, leaves, 0);
        _claim(1, leaves, 1);
        vm.assertEq(token.balanceOf(ann) + token.balanceOf(bob), SUM, "each leaf once");
    }

    function test_ADistributionAndAClaimCannotBothPay() external {
        Leaf[] memory leaves = _leaves(ann, 30 * CAPA, bob, SUM - 30 * CAPA);
        _commitRoot(leaves.nodes().root().hash);
        _mustSucceed(stranger, Calls.distribute(keeper, 1, leaves));
        _claim(1, leaves, 0);
        _mustFail(stranger, Calls.distribute(keeper, 1, leaves), ISettlement.AlreadyPaid.selector);
        vm.assertEq(token.balanceOf(ann), 30 * CAPA, "ann once");
        vm.assertEq(token.balanceOf(bob), 9_600_000_000, "bob once");
    }

    /// @dev An inner node's 80 bytes and a usage line's 140 are no leaf's 28.
    function test_ANodeOrALineIsNoLeaf() external {
        Leaf[] memory leaves = _leaves(ann, 30 * CAPA, bob, SUM - 30 * CAPA);
        ReferenceTree.Node[] memory nodes = leaves.nodes();
        _commitRoot(nodes.root().hash);
        // The first 28 bytes of the root's preimage, read as a leaf.
        address provider = address(bytes20(nodes[0].hash));
        uint64 amount = uint64(uint256(nodes[0].hash) >> 32);
        bytes memory data = Calls.claim(keeper, provider, 1, amount, 0, "");
        _mustFail(stranger, data, ISettlement.LeafNotProven.selector);
        bytes memory line = abi.encodePacked(nodes[0].hash, nodes[0].sum, nodes[1].hash, nodes[1].sum, new bytes(60));
        vm.assertFalse(settlement.verifyLine(keeper, 1, line, 0, ""), "an earnings tree proves no line");
    }

    function test_AnEmptyLeafPaysNobody() external {
        Leaf[] memory leaves = new Leaf[](3);
        leaves[0] = Leaf(ann, SUM);
        leaves[1] = Leaf(mallory, 0);
        leaves[2] = Leaf(address(0), 0);
        _commitRoot(leaves.nodes().root().hash);
        _claim(1, leaves, 1);
        vm.assertEq(token.balanceOf(mallory), 10_000 * CAPA, "a leaf of nothing pays nothing");
        // The odd node's partner is (0, 0): no provider's leaf hashes to it.
        bytes memory proof = leaves.nodes().proof(2);
        bytes memory data = Calls.claim(keeper, mallory, 1, 1, 3, proof);
        _mustFail(stranger, data, ISettlement.LeafNotProven.selector);
        _claim(1, leaves, 0);
        vm.assertEq(token.balanceOf(ann), SUM, "the rest of the tree is as good as ever");
    }
}
