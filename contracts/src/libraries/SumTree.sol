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
    function leafHash(address provider, uint256 amount) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            mstore(0x00, or(shl(96, provider), shl(32, and(amount, 0xffffffffffffffff))))
            hash := keccak256(0x00, 28)
        }
    }

    /// @notice One word that stands for a tree's root and sum; 0 for an empty tree, which proves nothing.
    /// @dev 64 bytes: no other preimage of the protocol's trees (28, 80, 140) has that length.
    function commitment(bytes32 root, uint256 sum) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            mstore(0x00, root)
            mstore(0x20, sum)
            result := mul(keccak256(0x00, 0x40), iszero(iszero(root)))
        }
    }

    /// @notice Whether a leaf is in the tree that was committed to.
    /// @param index Bit i says that the node proven at level i is a right child; all higher bits are 0.
    /// @param proof The siblings from the leaf up, 40 bytes each.
    function proves(bytes32 committed, bytes32 leaf, uint256 amount, uint256 index, bytes calldata proof)
        internal
        pure
        returns (bool)
    {
        uint256 start;
        assembly ("memory-safe") {
            start := proof.offset
        }
        return proof.length % NODE == 0 && provesPacked(committed, leaf, amount, index, start, proof.length / NODE);
    }

    /// @notice As `proves`, for a proof of `depth` siblings at a position in calldata.
    function provesPacked(
        bytes32 committed,
        bytes32 leaf,
        uint256 amount,
        uint256 index,
        uint256 position,
        uint256 depth
    ) internal pure returns (bool) {
        if (committed == 0 || depth > MAX_DEPTH || index >> depth != 0) return false;
        bytes32 hash = leaf;
        // 256 bits wide: at most 33 numbers of 64 bits cannot overflow it. A node's sum that needs more than 64 bits is
        // cut when it is hashed, but then the total exceeds every 64-bit sum and the commitment differs.
        uint256 total = amount;
        assembly ("memory-safe") {
            let m := mload(0x40)
            for { let end := add(position, mul(depth, 40)) } lt(position, end) { position := add(position, 40) } {
                // The proven node stands left, at 0, or right, at 40. Its sum is written 32 bytes wide, hence first.
                let side := mul(40, and(index, 1))
                let node := add(m, side)
                mstore(node, hash)
                mstore(add(node, 32), shl(192, total))
                calldatacopy(add(m, sub(40, side)), position, 40)
                hash := keccak256(m, 80)
                total := add(total, shr(192, calldataload(add(position, 32))))
                index := shr(1, index)
            }
        }
        return commitment(hash, total) == committed;
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
