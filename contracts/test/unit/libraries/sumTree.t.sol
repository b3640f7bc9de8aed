// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Harness} from "../../utils/Harness.sol";
import {Leaf, ReferenceTree} from "../../utils/ReferenceTree.sol";
import {vm} from "../../utils/Vm.sol";

contract SumTreeTest {
    using ReferenceTree for Leaf[];
    using ReferenceTree for ReferenceTree.Node[];

    Harness private tree = new Harness();

    function _random(uint256 seed, uint256 count) private pure returns (Leaf[] memory leaves) {
        leaves = new Leaf[](count);
        for (uint256 i; i < count; ++i) {
            uint256 word = uint256(keccak256(abi.encode(seed, i)));
            leaves[i] = Leaf(address(uint160(word)), uint64(word >> 200));
        }
    }

    function _proves(ReferenceTree.Node memory root, Leaf memory l, uint32 index, bytes memory proof)
        private
        view
        returns (bool)
    {
        return tree.proves(root.hash, root.sum, ReferenceTree.leaf(l).hash, l.amount, index, proof);
    }

    function testFuzz_Build(uint256 seed, uint256 count) external view {
        count = 1 + count % 70;
        Leaf[] memory leaves = _random(seed, count);
        ReferenceTree.Node memory root = leaves.nodes().root();
        (bytes32 hash, uint256 sum) = tree.build(leaves.pack());
        vm.assertEq(hash, root.hash, "root");
        vm.assertEq(sum, root.sum, "sum");
    }

    function test_BuildCountsBeyond64Bits() external view {
        Leaf[] memory leaves = new Leaf[](2);
        leaves[0] = Leaf(address(1), type(uint64).max);
        leaves[1] = Leaf(address(2), 1);
        (, uint256 sum) = tree.build(leaves.pack());
        vm.assertEq(sum, 1 << 64, "sum");
    }

    function testFuzz_ProvesItsLeaves(uint256 seed, uint256 count) external view {
        count = 1 + count % 40;
        Leaf[] memory leaves = _random(seed, count);
        ReferenceTree.Node[] memory nodes = leaves.nodes();
        ReferenceTree.Node memory root = nodes.root();
        for (uint256 i; i < count; ++i) {
            vm.assertTrue(_proves(root, leaves[i], uint32(i), nodes.proof(i)), "own proof");
        }
    }

    function testFuzz_ProvesNothingElse(uint256 seed, uint256 count, uint256 at, uint256 flip) external view {
        count = 2 + count % 40;
        at %= count;
        Leaf[] memory leaves = _random(seed, count);
        ReferenceTree.Node[] memory nodes = leaves.nodes();
        ReferenceTree.Node memory root = nodes.root();
        bytes memory proof = nodes.proof(at);
        uint32 index = uint32(at);
        Leaf memory l = leaves[at];
        vm.assertFalse(_proves(root, Leaf(address(0xbad), l.amount), index, proof), "another provider");
        vm.assertFalse(_proves(root, Leaf(l.provider, l.amount ^ 1), index, proof), "another amount");
        vm.assertFalse(_proves(root, l, index ^ 1, proof), "another index");
        bytes32 hash = ReferenceTree.leaf(l).hash;
        vm.assertFalse(tree.proves(root.hash, root.sum ^ 1, hash, l.amount, index, proof), "another sum");
        vm.assertFalse(tree.proves(~root.hash, root.sum, hash, l.amount, index, proof), "another root");
        flip %= proof.length;
        proof[flip] = ~proof[flip];
        vm.assertFalse(_proves(root, l, index, proof), "another sibling");
    }

    function testFuzz_RefusesHighIndexBits(uint256 seed, uint256 count, uint256 bit) external view {
        count = 1 + count % 40;
        Leaf[] memory leaves = _random(seed, count);
        ReferenceTree.Node[] memory nodes = leaves.nodes();
        bytes memory proof = nodes.proof(0);
        uint256 depth = proof.length / 40;
        bit = depth + bit % (32 - depth);
        vm.assertFalse(_proves(nodes.root(), leaves[0], uint32(1 << bit), proof), "a bit above the proof");
    }

    function test_RefusesOddLengths() external view {
        Leaf[] memory leaves = _random(1, 2);
        ReferenceTree.Node[] memory nodes = leaves.nodes();
        bytes memory proof = nodes.proof(0);
        vm.assertFalse(_proves(nodes.root(), leaves[0], 0, bytes.concat(proof, hex"00")), "41 bytes");
        vm.assertFalse(_proves(nodes.root(), leaves[0], 0, ""), "none");
    }

    /// @dev A chain of empty siblings above one leaf, of any length.
    function _chain(Leaf memory l, uint256 depth) private view returns (bool) {
        ReferenceTree.Node memory node = ReferenceTree.leaf(l);
        bytes memory proof = new bytes(40 * depth);
        for (uint256 i; i < depth; ++i) {
            node = ReferenceTree.parent(node, ReferenceTree.Node(0, 0));
        }
        return _proves(node, l, 0, proof);
    }

    function test_RefusesMoreThan32Siblings() external view {
        vm.assertTrue(_chain(Leaf(address(1), 5), 32), "32 siblings");
        vm.assertFalse(_chain(Leaf(address(1), 5), 33), "33 siblings");
    }

    function test_ZeroRootProvesNothing() external view {
        vm.assertFalse(tree.proves(0, 0, 0, 0, 0, ""), "even a leaf hash of zero");
    }

    /// @dev A tree whose right node claims 2^64 - 4, cut to 64 bits, would make 5 + (2^64 - 4) look like 1.
    function test_RefusesAnOverflow() external view {
        Leaf memory l = Leaf(address(1), 5);
        bytes32 leafHash = ReferenceTree.leaf(l).hash;
        bytes32 sibling = keccak256("sibling");
        uint64 huge = type(uint64).max - 3;
        bytes32 root = keccak256(abi.encodePacked(leafHash, uint64(5), sibling, huge));
        bytes memory proof = abi.encodePacked(sibling, huge);
        vm.assertFalse(tree.proves(root, 1, leafHash, 5, 0, proof), "the sum wraps");
        // The same one level below the root, where the wrapped sum is what gets hashed.
        bytes32 top = keccak256(abi.encodePacked(root, uint64(1), bytes32(0), uint64(0)));
        proof = bytes.concat(proof, new bytes(40));
        vm.assertFalse(tree.proves(top, 1, leafHash, 5, 0, proof), "the sum wraps below the root");
    }
}
