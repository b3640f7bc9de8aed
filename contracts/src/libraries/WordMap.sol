// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title WordMap: a mapping from numbers to words that can be kept in memory
/// @notice Solidity has no memory variable for a mapping in storage. Finding an inner mapping costs a hash for each key on
/// the way; a loop over its entries should pay that once.
library WordMap {
    /// @dev The mapping's slot.
    type Map is uint256;

    function from(mapping(uint256 => uint256) storage words) internal pure returns (Map map) {
        assembly ("memory-safe") {
            map := words.slot
        }
    }

    function slot(Map map, uint256 key) internal pure returns (uint256 at) {
        assembly ("memory-safe") {
            mstore(0x00, key)
            mstore(0x20, map)
            at := keccak256(0x00, 0x40)
        }
    }

    function load(uint256 at) internal view returns (uint256 word) {
        assembly ("memory-safe") {
            word := sload(at)
        }
    }

    function store(uint256 at, uint256 word) internal {
        assembly ("memory-safe") {
            sstore(at, word)
        }
    }
}
