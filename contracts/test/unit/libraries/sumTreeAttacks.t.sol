// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Harness} from "../../utils/Harness.sol";
import {Leaf, ReferenceTree} from "../../utils/ReferenceTree.sol";
import {vm} from "../../utils/Vm.sol";

/// @notice Trees built to cheat. Whoever builds the tree, valid proofs of distinct leaves add up to at most its sum.
contract SumTreeAttackTest {
    using ReferenceTree for Leaf[];
    using ReferenceTree for ReferenceTree.Node[];

    uint256 private constant CHUNK = 1 << 10;

    Harness private tree = new Harness();

    function _proves(ReferenceTree.Node memory root, ReferenceTree.Node memory node, uint256 index, bytes memory proof)
        private
        view
        returns (bool)
    {
        return tree.proves(root.hash, root.sum, node.hash, node.sum, uint32(index), proof);
    }

    function _pair(ReferenceTree.Node memory a) private pure returns (bytes memory) {
        return abi.encodePacked(a.hash, a.sum);
    }

    function _three() private pure returns (ReferenceTree.Node[] memory) {
        Leaf[] memory leaves = new Leaf[](3);
        leaves[0] = Leaf(address(0xa), 10);
        leaves[1] = Leaf(address(0xb), 20);
        leaves[2] = Leaf(address(0xc), 30);
        return leaves.nodes();
    }

    /// @dev A node of 80 bytes cannot pass for a leaf of 28 or a line of 140: read as one it hashes to something else.
    function test_ANodesPreimageIsNoLeaf() external view {
        ReferenceTree.Node[] memory nodes = _three();
        ReferenceTree.Node memory left = ReferenceTree.parent(nodes[0], nodes[1]);
        bytes memory preimage = bytes.concat(_pair(nodes[0]), _pair(nodes[1]));
        vm.assertEq(keccak256(preimage), left.hash, "the node's preimage");
        Leaf memory forged = Leaf(address(bytes20(preimage)), uint64(uint256(nodes[0].hash) >> 32));
        ReferenceTree.Node memory leaf = ReferenceTree.leaf(forged);
        bytes memory proof = bytes.concat(_pair(nodes[2]), _pair(ReferenceTree.Node(0, 0)));
        vm.assertFalse(
            _proves(nodes.root(), leaf, 0, _pair(ReferenceTree.parent(nodes[2], ReferenceTree.Node(0, 0)))),
            "28 of 80 bytes"
        );
        vm.assertFalse(_proves(nodes.root(), leaf, 0, proof), "a level lower");
        ReferenceTree.Node memory line = ReferenceTree.line(bytes.concat(preimage, new bytes(60)), 30);
        vm.assertFalse(_proves(nodes.root(), line, 0, _pair(nodes[2])), "140 bytes");
    }

    /// @dev A tree of one leaf is that leaf. No level can be added below or above it.
    function test_ALeafIsNoNode() external view {
        ReferenceTree.Node memory leaf = ReferenceTree.leaf(Leaf(address(0xa), 10));
        vm.assertTrue(_proves(leaf, leaf, 0, ""), "itself");
        vm.assertFalse(_proves(leaf, leaf, 0, new bytes(40)), "under an empty sibling");
        vm.assertFalse(_proves(leaf, leaf, 1, new bytes(40)), "beside an empty sibling");
        ReferenceTree.Node memory child = ReferenceTree.leaf(Leaf(address(0xb), 4));
        vm.assertFalse(_proves(leaf, child, 0, _pair(ReferenceTree.leaf(Leaf(address(0xc), 6)))), "a child of a leaf");
    }

    /// @dev Repeating the odd leaf makes another tree, because its partner is the empty node.
    function test_AnOddNodeIsNotItsOwnPartner() external view {
        ReferenceTree.Node[] memory nodes = _three();
        ReferenceTree.Node[] memory four = new ReferenceTree.Node[](4);
        for (uint256 i; i < 4; ++i) {
            four[i] = nodes[i < 3 ? i : 2];
        }
        vm.assertTrue(nodes.root().hash != four.root().hash, "another root");
        vm.assertEq(nodes.root().sum, 60, "10 + 20 + 30");
        vm.assertTrue(_proves(nodes.root(), nodes[2], 2, nodes.proof(2)), "the odd leaf");
        vm.assertFalse(_proves(nodes.root(), nodes[2], 3, nodes.proof(2)), "its twin");
        vm.assertFalse(_proves(nodes.root(), nodes[2], 3, four.proof(3)), "its twin, with the other tree's proof");
    }

    /// @dev Two leaves for one provider are two leaves: both are proven, and the contract pays the larger.
    function test_ADuplicatedProviderProvesBothLeaves() external view {
        Leaf[] memory leaves = new Leaf[](2);
        leaves[0] = Leaf(address(0xa), 10);
        leaves[1] = Leaf(address(0xa), 20);
        ReferenceTree.Node[] memory nodes = leaves.nodes();
        vm.assertTrue(_proves(nodes.root(), nodes[0], 0, nodes.proof(0)), "10");
        vm.assertTrue(_proves(nodes.root(), nodes[1], 1, nodes.proof(1)), "20");
        ReferenceTree.Node memory both = ReferenceTree.leaf(Leaf(address(0xa), 30));
        vm.assertFalse(_proves(nodes.root(), both, 0, ""), "not 30");
    }

    function test_AZeroLeafIsNotTheEmptyNode() external view {
        ReferenceTree.Node memory zero = ReferenceTree.leaf(Leaf(address(0), 0));
        vm.assertTrue(zero.hash != 0, "it has a hash");
        ReferenceTree.Node[] memory nodes = _three();
        vm.assertFalse(_proves(nodes.root(), zero, 3, nodes.proof(2)), "it is not the odd leaf's partner");
        ReferenceTree.Node[] memory with = new ReferenceTree.Node[](4);
        for (uint256 i; i < 4; ++i) {
            with[i] = i < 3 ? nodes[i] : zero;
        }
        vm.assertEq(with.root().sum, 60, "a leaf of nothing adds nothing");
        vm.assertTrue(_proves(with.root(), zero, 3, with.proof(3)), "and is proven where it stands");
    }

    /// @dev No other place in the tree than its own, for every leaf of trees of every shape.
    function testFuzz_WrongIndexBitsProveNothing(uint256 count, uint256 at, uint32 index) external view {
        count = 2 + count % 31;
        at %= count;
        Leaf[] memory leaves = new Leaf[](count);
        for (uint256 i; i < count; ++i) {
            leaves[i] = Leaf(address(uint160(1 + i)), uint64(1 + i));
        }
        ReferenceTree.Node[] memory nodes = leaves.nodes();
        bytes memory proof = nodes.proof(at);
        index %= uint32(2 << (proof.length / 40));
        vm.assertEq(_proves(nodes.root(), nodes[at], index, proof), index == at, "its own index only");
    }

    /// @dev At any level of a proof of any depth a sibling makes the sum wrap to what the keeper may pay.
    function testFuzz_AnOverflowAtAnyLevelProvesNothing(
        uint256 depth,
        uint256 level,
        uint64 amount,
        uint64 sum,
        uint32 index
    ) external view {
        depth = 1 + depth % 32;
        level %= depth;
        amount = amount / 2 + 2;
        sum = sum % (amount - 1) + 1;
        if (depth < 32) index %= uint32(1 << depth);
        ReferenceTree.Node memory leaf = ReferenceTree.leaf(Leaf(address(0xa), amount));
        ReferenceTree.Node memory node = ReferenceTree.Node(leaf.hash, amount);
        bytes memory proof;
        for (uint256 i; i < depth; ++i) {
            ReferenceTree.Node memory sibling = ReferenceTree.Node(keccak256(abi.encode(i)), 0);
            // amount + sibling = sum + 2^64, which 64 bits show as sum.
            if (i == level) sibling.sum = type(uint64).max - amount + 1 + sum;
            proof = bytes.concat(proof, _pair(sibling));
            node = _wrapping(node, sibling, (index >> i) % 2 == 1);
        }
        vm.assertEq(node.sum, sum, "the tree claims the small sum");
        vm.assertFalse(_proves(node, leaf, index, proof), "and proves nothing");
    }

    function _wrapping(ReferenceTree.Node memory node, ReferenceTree.Node memory sibling, bool isRight)
        private
        pure
        returns (ReferenceTree.Node memory)
    {
        (ReferenceTree.Node memory l, ReferenceTree.Node memory r) = isRight ? (sibling, node) : (node, sibling);
        unchecked {
            return ReferenceTree.Node(keccak256(bytes.concat(_pair(l), _pair(r))), l.sum + r.sum);
        }
    }

    /// @dev The whole list's sum shows beyond 64 bits, so no committed sum equals it.
    function testFuzz_AListThatOverflowsMatchesNoSum(uint256 count, uint256 seed) external view {
        count = 2 + count % 30;
        Leaf[] memory leaves = new Leaf[](count);
        uint256 total;
        for (uint256 i; i < count; ++i) {
            uint64 amount = type(uint64).max - uint64(uint256(keccak256(abi.encode(seed, i))) >> 200);
            leaves[i] = Leaf(address(uint160(1 + i)), amount);
            total += amount;
        }
        (, uint256 sum) = tree.build(leaves.pack());
        vm.assertEq(sum, total, "all of it");
        vm.assertGt(sum, type(uint64).max, "more than any batch may pay");
    }

    /* TREES OF 2^20 LEAVES */

    /// @dev Every subtree of a level is the same, so the root of 2^20 leaves takes 20 hashes, and so does any proof.
    function test_AnyOfAMillionEqualLeavesIsProven() external view {
        ReferenceTree.Node memory leaf = ReferenceTree.leaf(Leaf(address(0xa), 7));
        ReferenceTree.Node memory node = leaf;
        bytes memory proof;
        for (uint256 level; level < 20; ++level) {
            proof = bytes.concat(proof, _pair(node));
            node = ReferenceTree.parent(node, node);
        }
        vm.assertEq(node.sum, 7 << 20, "2^20 times 7");
        vm.assertTrue(_proves(node, leaf, 0, proof), "the first");
        vm.assertTrue(_proves(node, leaf, 0xaaaaa, proof), "one in the middle");
        vm.assertTrue(_proves(node, leaf, (1 << 20) - 1, proof), "the last");
        vm.assertFalse(_proves(node, leaf, 1 << 20, proof), "the one after the last");
        vm.assertFalse(_proves(node, ReferenceTree.Node(leaf.hash, 8), 0, proof), "one of 8");
    }

    /// @dev Multiples of an odd number differ, and are cheap to make a million of.
    function _leaf(uint256 i) private pure returns (Leaf memory) {
        unchecked {
            uint256 word = (i + 1) * 0x9e3779b97f4a7c15f39cc0605cedc8341082276bf3a27251;
            return Leaf(address(uint160(word)), uint64(word >> 24) >> 24);
        }
    }

    function _chunk(uint256 at) private pure returns (Leaf[] memory leaves) {
        leaves = new Leaf[](CHUNK);
        for (uint256 i; i < CHUNK; ++i) {
            leaves[i] = _leaf(at * CHUNK + i);
        }
    }

    /// @dev Called from outside, so that each chunk starts with fresh memory.
    function chunkRoot(uint256 at) external view returns (bytes32, uint256) {
        bytes memory packed = new bytes(28 * CHUNK + 4);
        assembly ("memory-safe") {
            let p := add(packed, 0x20)
            let i := mul(at, CHUNK)
            for { let end := add(i, CHUNK) } lt(i, end) { p := add(p, 28) } {
                i := add(i, 1)
                let word := mul(i, 0x9e3779b97f4a7c15f39cc0605cedc8341082276bf3a27251)
                let amount := shr(24, and(shr(24, word), 0xffffffffffffffff))
                mstore(p, or(shl(96, word), shl(32, amount)))
            }
            mstore(packed, mul(28, CHUNK))
        }
        return tree.build(packed);
    }

    /// @dev A real tree of 2^20 different leaves, built in chunks of 2^10 by the contract's own builder.
    function test_AMillionDifferentLeaves() external view {
        ReferenceTree.Node[] memory tops = new ReferenceTree.Node[](CHUNK);
        for (uint256 i; i < CHUNK; ++i) {
            (bytes32 hash, uint256 sum) = this.chunkRoot(i);
            tops[i] = ReferenceTree.Node(hash, uint64(sum));
        }
        ReferenceTree.Node memory root = tops.root();
        this.checkLeaf(root, tops, 0);
        this.checkLeaf(root, tops, 777_777);
        this.checkLeaf(root, tops, (1 << 20) - 1);
    }

    function checkLeaf(ReferenceTree.Node memory root, ReferenceTree.Node[] memory tops, uint256 at) external view {
        bytes memory proof = bytes.concat(_chunk(at / CHUNK).nodes().proof(at % CHUNK), tops.proof(at / CHUNK));
        ReferenceTree.Node memory leaf = ReferenceTree.leaf(_leaf(at));
        vm.assertEq(proof.length, 20 * 40, "20 siblings");
        vm.assertTrue(_proves(root, leaf, at, proof), "its own place");
        vm.assertFalse(_proves(root, leaf, at ^ 1, proof), "its neighbour's place");
        vm.assertFalse(_proves(root, leaf, at ^ (1 << 19), proof), "the other half");
        vm.assertFalse(_proves(root, ReferenceTree.leaf(_leaf(at ^ 1)), at, proof), "its neighbour");
    }

    /* DEPTH */

    /// @dev 32 levels with every sibling of value and any index; one level more proves nothing.
    function testFuzz_DepthEndsAt32(uint32 index, uint32 amount) external view {
        ReferenceTree.Node memory leaf = ReferenceTree.leaf(Leaf(address(0xa), amount));
        ReferenceTree.Node memory node = leaf;
        bytes memory proof;
        for (uint256 i; i < 32; ++i) {
            ReferenceTree.Node memory sibling = ReferenceTree.Node(keccak256(abi.encode(i)), uint64(i));
            proof = bytes.concat(proof, _pair(sibling));
            node = _wrapping(node, sibling, (index >> i) % 2 == 1);
        }
        vm.assertTrue(_proves(node, leaf, index, proof), "32 siblings");
        ReferenceTree.Node memory last = ReferenceTree.Node(keccak256("33rd"), 33);
        proof = bytes.concat(proof, _pair(last));
        vm.assertFalse(_proves(_wrapping(node, last, false), leaf, index, proof), "33 siblings");
    }
}
