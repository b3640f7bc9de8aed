// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @notice One batch's leaf and proof, as a claim packs them.
struct ClaimItem {
    uint32 batch;
    uint64 amount;
    uint32 index;
    bytes proof;
}

/// @notice Packs the argument of `claim`.
library ClaimItems {
    function pack(ClaimItem memory item) internal pure returns (bytes memory) {
        return abi.encodePacked(item.batch, item.amount, item.index, uint8(item.proof.length / 40), item.proof);
    }

    function pack(ClaimItem[] memory items) internal pure returns (bytes memory packed) {
        for (uint256 i; i < items.length; ++i) {
            packed = bytes.concat(packed, pack(items[i]));
        }
    }
}
