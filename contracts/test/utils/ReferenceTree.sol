// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @notice A leaf of the earnings tree.
struct Leaf {
    address provider;
    uint64 amount;
}

/// @notice The sum tree as the protocol describes it, written to be read: the yardstick for `SumTree`.
library ReferenceTree {
    struct Node {
        bytes32 hash;
        uint64 sum;
    }

    function leaf(Leaf memory l) internal pure returns (Node memory) {
        return Node(keccak256(abi.encodePacked(l.provider, l.amount)), l.amount);
    }

    function line(bytes memory record, uint64 amount) internal pure returns (Node memory) {
        return Node(keccak256(record), amount);
    }

    function parent(Node memory left, Node memory right) internal pure returns (Node memory) {
        return Node(keccak256(abi.encodePacked(left.hash, left.sum, right.hash, right.sum)), left.sum + right.sum);
    }

    function nodes(Leaf[] memory leaves) internal pure returns (Node[] memory level) {
        level = new Node[](leaves.length);
        for (uint256 i; i < leaves.length; ++i) {
            level[i] = leaf(leaves[i]);
        }
    }

    function up(Node[] memory level) internal pure returns (Node[] memory next) {
        next = new Node[]((level.length + 1) / 2);
        for (uint256 i; i < next.length; ++i) {
            next[i] = parent(level[2 * i], _at(level, 2 * i + 1));
        }
    }

    function root(Node[] memory level) internal pure returns (Node memory) {
        if (level.length == 0) return Node(0, 0);
        while (level.length > 1) {
            level = up(level);
        }
        return level[0];
    }

    function proof(Node[] memory level, uint256 index) internal pure returns (bytes memory siblings) {
        while (level.length > 1) {
            Node memory sibling = _at(level, index ^ 1);
            siblings = bytes.concat(siblings, abi.encodePacked(sibling.hash, sibling.sum));
            level = up(level);
            index /= 2;
        }
    }

    function pack(Leaf[] memory leaves) internal pure returns (bytes memory packed) {
        for (uint256 i; i < leaves.length; ++i) {
            packed = bytes.concat(packed, abi.encodePacked(leaves[i].provider, leaves[i].amount));
        }
    }

    function _at(Node[] memory level, uint256 index) private pure returns (Node memory) {
        return index < level.length ? level[index] : Node(0, 0);
    }
}
