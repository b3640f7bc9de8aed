// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title SumTree: a Merkle tree whose every node carries the sum of its leaves
/// @notice A node is a hash and a 64-bit sum. A parent's hash covers both children's hashes and sums (80 bytes), its sum
/// is theirs added. An odd node is paired with the empty node (hash 0, sum 0). A proof re-computes hash and sum, so
/// valid proofs of distinct leaves never add up to more than the root's sum, whoever built the tree.
library SumTree {
    /// @dev Bytes of a node: hash 32, sum 8.
    uint256 internal constant NODE = 40;
    /// @dev Bytes of an earnings leaf: provider 20, amount 8.
    uint256 internal constant LEAF = 28;
    uint256 internal constant MAX_DEPTH = 32;

    /// @notice Hash of an earnings leaf.
    function leafHash(address provider, uint64 amount) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(provider, amount));
    }

    /// @notice Whether a leaf is in the tree of `root` and `sum`.
    /// @param index Bit i says that the node proven at level i is a right child; all higher bits are 0.
    /// @param proof The siblings from the leaf up, 40 bytes each.
    function proves(bytes32 root, uint64 sum, bytes32 leaf, uint64 amount, uint32 index, bytes calldata proof)
        internal
        pure
        returns (bool)
    {
        uint256 depth = proof.length / NODE;
        // An empty tree's root is 0, which no leaf hashes to in practice; refusing it outright needs no such argument.
        if (root == 0 || proof.length % NODE != 0 || depth > MAX_DEPTH || uint256(index) >> depth != 0) return false;
        bytes32 hash = leaf;
        // 256 bits wide: at most 33 numbers of 64 bits cannot overflow it. A node's sum that needs more than 64 bits is
        // cut when it is hashed, but then the total exceeds every 64-bit `sum` and the comparison below fails.
        uint256 total = amount;
        assembly ("memory-safe") {
            let m := mload(0x40)
            let end := add(proof.offset, proof.length)
            for { let p := proof.offset } lt(p, end) { p := add(p, 40) } {
                switch and(index, 1)
                case 0 {
                    mstore(m, hash)
                    mstore(add(m, 32), shl(192, total))
                    calldatacopy(add(m, 40), p, 40)
                }
                default {
                    mstore(add(m, 40), hash)
                    mstore(add(m, 72), shl(192, total))
                    calldatacopy(m, p, 40)
                }
                hash := keccak256(m, 80)
                total := add(total, shr(192, calldataload(add(p, 32))))
                index := shr(1, index)
            }
        }
        return hash == root && total == sum;
    }

    /// @notice Root and sum of the tree over packed leaves. The sum may exceed 64 bits; the root then means nothing.
    /// @dev `leaves` is a non-empty multiple of 28 bytes. Nodes lie side by side in 40 bytes each, so that a pair is the
    /// 80 bytes to hash, and a level overwrites the one below it from the left.
    function build(bytes calldata leaves) internal pure returns (bytes32 root, uint256 sum) {
        assembly ("memory-safe") {
            let base := mload(0x40)
            let node := base
            let end := add(leaves.offset, leaves.length)
            for { let p := leaves.offset } lt(p, end) { p := add(p, 28) } {
                calldatacopy(0x00, p, 28)
                mstore(node, keccak256(0x00, 28))
                let amount := shr(192, calldataload(add(p, 20)))
                mstore(add(node, 32), shl(192, amount))
                sum := add(sum, amount)
                node := add(node, 40)
            }
            for { let n := div(sub(node, base), 40) } gt(n, 1) { n := shr(1, add(n, 1)) } {
                node := add(base, mul(n, 40))
                // The empty node behind the level; it is read only if the level is odd.
                mstore(node, 0)
                mstore(add(node, 8), 0)
                let parent := base
                for { let p := base } lt(p, node) { p := add(p, 80) } {
                    let pairSum := add(shr(192, mload(add(p, 32))), shr(192, mload(add(p, 72))))
                    mstore(parent, keccak256(p, 80))
                    mstore(add(parent, 32), shl(192, pairSum))
                    parent := add(parent, 40)
                }
            }
            root := mload(base)
        }
    }
}
