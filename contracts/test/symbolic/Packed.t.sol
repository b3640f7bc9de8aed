// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Packed} from "../../src/libraries/Packed.sol";

/// @notice The assembly readers against Solidity's own slices and shifts, for every content of 96 bytes.
contract PackedSymbolicTest {
    using Packed for bytes;

    function check_readersReadTheirBytes(bytes32 a, bytes32 b, bytes32 c) external view {
        bytes memory data = bytes.concat(a, b, c);
        for (uint256 offset; offset <= 64; ++offset) {
            this.compare(data, offset);
        }
    }

    function compare(bytes calldata data, uint256 offset) external pure {
        bytes32 word = bytes32(data[offset:offset + 32]);
        assert(data.bytes32At(offset) == word);
        assert(data.addressAt(offset) == address(bytes20(word)));
        assert(data.uint64At(offset) == uint64(bytes8(word)));
        assert(data.uint32At(offset) == uint32(bytes4(word)));

        (uint256 start, uint256 end) = data.bounds();
        assert(end - start == data.length);
        assert(Packed.uint64Of(start + offset) == uint64(bytes8(word)));
        assert(Packed.uint32Of(start + offset) == uint32(bytes4(word)));
        assert(Packed.uint8Of(start + offset) == uint8(bytes1(word)));
    }

    /// @notice A list is accepted exactly if it holds whole items, and then it is cut nowhere but between them.
    function check_countAcceptsWholeItems(uint16 length) external view {
        _checkCount(length, 28);
        _checkCount(length, 124);
        _checkCount(length, 228);
    }

    function _checkCount(uint256 length, uint256 size) private view {
        try this.count(length, size) returns (uint256 count_) {
            assert(length != 0 && count_ * size == length);
        } catch {
            assert(length == 0 || length % size != 0);
        }
    }

    /// @dev A list of `length` bytes that nobody reads: only its length counts.
    function count(uint256 length, uint256 size) external pure returns (uint256) {
        bytes calldata list;
        assembly ("memory-safe") {
            list.offset := 0
            list.length := length
        }
        return list.count(size);
    }
}
