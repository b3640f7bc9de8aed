// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {SumTree} from "../../src/libraries/SumTree.sol";
import {Leaf, ReferenceTree} from "../utils/ReferenceTree.sol";

/// @notice Soundness of the sum tree, for every root, leaf, index and sibling, whoever built the tree. keccak256 is taken to
/// have no collisions. Proofs have up to three levels: a step of the loop knows nothing of the level it is on.
contract SumTreeSymbolicTest {
    using ReferenceTree for ReferenceTree.Node[];
    using ReferenceTree for Leaf[];

    struct Sibling {
        bytes32 hash;
        uint64 sum;
    }

    struct Proof {
        address provider;
        uint64 amount;
        uint32 index;
        Sibling[3] siblings;
    }

    /// @notice Two providers with valid proofs of up to three levels each, of the same or of different depth, are never
    /// promised more than the proven sum together.
    function check_proofsOfTwoProvidersStayWithinTheSum(
        bytes32 root,
        uint64 sum,
        Proof calldata a,
        Proof calldata b,
        uint8 depthOfA,
        uint8 depthOfB
    ) external view {
        if (a.provider == b.provider || depthOfB < depthOfA) return;
        for (uint256 i; i <= 3; ++i) {
            for (uint256 j = i; j <= 3; ++j) {
                if (depthOfA != i || depthOfB != j) continue;
                if (!_proves(root, sum, a, i) || !_proves(root, sum, b, j)) return;
                assert(uint256(a.amount) + b.amount <= sum);
            }
        }
    }

    /// @notice Two different amounts proven for one provider come from two leaves, which both count.
    function check_twoLeavesOfOneProviderBothCount(bytes32 root, uint64 sum, Proof calldata a, Proof calldata b)
        external
        view
    {
        if (a.provider != b.provider || a.amount == b.amount) return;
        if (!_proves(root, sum, a, 2) || !_proves(root, sum, b, 2)) return;
        assert(uint256(a.amount) + b.amount <= sum);
    }

    /// @notice One place in the tree holds one leaf: proofs of the same index and depth name the same provider and amount.
    function check_onePlaceHoldsOneLeaf(bytes32 root, uint64 sum, Proof calldata a, Proof calldata b) external view {
        if (a.index != b.index) return;
        if (!_proves(root, sum, a, 2) || !_proves(root, sum, b, 2)) return;
        assert(a.provider == b.provider && a.amount == b.amount);
    }

    /// @notice A proof has one index: bits above its depth must be 0, and the root must not be.
    function check_indexAndRootAreBounded(bytes32 root, uint64 sum, Proof calldata a) external view {
        if (!_proves(root, sum, a, 2)) return;
        assert(a.index < 4 && root != 0 && a.amount <= sum);
    }

    /// @notice What `build` makes of one to four leaves is the described tree, and every leaf is proven in it.
    function check_buildAgreesWithProofs(Leaf[4] calldata leaves) external view {
        uint256 total;
        for (uint256 i; i < 4; ++i) {
            total += leaves[i].amount;
        }
        if (total > type(uint64).max) return;
        for (uint256 count = 1; count <= 4; ++count) {
            Leaf[] memory list = new Leaf[](count);
            for (uint256 i; i < count; ++i) {
                list[i] = leaves[i];
            }
            _checkTree(list);
        }
    }

    function _checkTree(Leaf[] memory list) private view {
        (bytes32 root, uint256 sum) = this.build(list.pack());
        ReferenceTree.Node memory expected = list.nodes().root();
        assert(root == expected.hash && sum == expected.sum);
        bytes32 committed = SumTree.commitment(root, sum);
        for (uint256 i; i < list.length; ++i) {
            bytes memory proof = list.nodes().proof(i);
            bytes32 leaf = SumTree.leafHash(list[i].provider, list[i].amount);
            assert(this.proves(committed, leaf, list[i].amount, uint32(i), proof));
        }
    }

    function _proves(bytes32 root, uint64 sum, Proof calldata p, uint256 depth) private view returns (bool) {
        bytes memory packed;
        for (uint256 i; i < depth; ++i) {
            packed = bytes.concat(packed, abi.encodePacked(p.siblings[i].hash, p.siblings[i].sum));
        }
        bytes32 leaf = SumTree.leafHash(p.provider, p.amount);
        bytes32 committed = SumTree.commitment(root, sum);
        // One path for each index that fits the depth: the solver cannot write to memory at an unknown place.
        for (uint32 index; index < 1 << depth; ++index) {
            if (p.index == index) return this.proves(committed, leaf, p.amount, index, packed);
        }
        return this.proves(committed, leaf, p.amount, p.index, packed);
    }

    function proves(bytes32 committed, bytes32 leaf, uint64 amount, uint32 index, bytes calldata proof)
        external
        pure
        returns (bool)
    {
        return SumTree.proves(committed, leaf, amount, index, proof);
    }

    function build(bytes calldata leaves) external pure returns (bytes32 root, uint256 sum) {
        return SumTree.build(leaves);
    }
}
