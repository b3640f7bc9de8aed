// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title Packed: reads fields of packed calldata
/// @dev The readers do not check bounds: `count` or a length check on the whole comes first.
library Packed {
    /// @notice The list is empty, or its length is no multiple of the item's size.
    error MalformedList(uint256 length, uint256 itemSize);

    /// @notice How many items of `size` bytes a list holds, at least one.
    function count(bytes calldata list, uint256 size) internal pure returns (uint256) {
        if (list.length == 0 || list.length % size != 0) revert MalformedList(list.length, size);
        return list.length / size;
    }

    /// @notice Where a list starts and ends in calldata.
    function bounds(bytes calldata list) internal pure returns (uint256 start, uint256 end) {
        assembly ("memory-safe") {
            start := list.offset
            end := add(start, list.length)
        }
    }

    /// @notice The 8-bit number at a position in calldata.
    function uint8Of(uint256 position) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := shr(248, calldataload(position))
        }
    }

    /// @notice The 32-bit number at a position in calldata.
    function uint32Of(uint256 position) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := shr(224, calldataload(position))
        }
    }

    /// @notice The 64-bit number at a position in calldata.
    function uint64Of(uint256 position) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := shr(192, calldataload(position))
        }
    }

    function addressAt(bytes calldata data, uint256 offset) internal pure returns (address value) {
        assembly ("memory-safe") {
            value := shr(96, calldataload(add(data.offset, offset)))
        }
    }

    function uint64At(bytes calldata data, uint256 offset) internal pure returns (uint64 value) {
        assembly ("memory-safe") {
            value := shr(192, calldataload(add(data.offset, offset)))
        }
    }

    function uint32At(bytes calldata data, uint256 offset) internal pure returns (uint32 value) {
        assembly ("memory-safe") {
            value := shr(224, calldataload(add(data.offset, offset)))
        }
    }

    function bytes32At(bytes calldata data, uint256 offset) internal pure returns (bytes32 value) {
        assembly ("memory-safe") {
            value := calldataload(add(data.offset, offset))
        }
    }
}
