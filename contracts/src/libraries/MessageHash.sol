// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {TypeHashes} from "./TypeHashes.sol";

/// @title MessageHash: struct hashes and digests of the messages that settlement checks
/// @dev Written past the free memory pointer without moving it: a list of a thousand vouchers hashes in the same few
/// words, where `abi.encode` would grow memory with every item. `Messages` is the readable twin, tested for equality.
library MessageHash {
    function allocation(address provider, uint64 earned, bytes32 receipt) internal pure returns (bytes32 result) {
        bytes32 typeHash = TypeHashes.ALLOCATION;
        assembly ("memory-safe") {
            let m := mload(0x40)
            mstore(m, typeHash)
            mstore(add(m, 0x20), shr(96, shl(96, provider)))
            mstore(add(m, 0x40), and(earned, 0xffffffffffffffff))
            mstore(add(m, 0x60), receipt)
            result := keccak256(m, 0x80)
        }
    }

    function voucher(address payer, address keeper, uint32 batch, uint64 total, bytes32 latest)
        internal
        pure
        returns (bytes32 result)
    {
        bytes32 typeHash = TypeHashes.VOUCHER;
        assembly ("memory-safe") {
            let m := mload(0x40)
            mstore(m, typeHash)
            mstore(add(m, 0x20), shr(96, shl(96, payer)))
            mstore(add(m, 0x40), shr(96, shl(96, keeper)))
            mstore(add(m, 0x60), and(batch, 0xffffffff))
            mstore(add(m, 0x80), and(total, 0xffffffffffffffff))
            mstore(add(m, 0xa0), latest)
            result := keccak256(m, 0xc0)
        }
    }

    function acceptance(bytes32 voucherHash, address provider, uint32 batch, uint64 owed)
        internal
        pure
        returns (bytes32 result)
    {
        bytes32 typeHash = TypeHashes.ACCEPTANCE;
        assembly ("memory-safe") {
            let m := mload(0x40)
            mstore(m, typeHash)
            mstore(add(m, 0x20), voucherHash)
            mstore(add(m, 0x40), shr(96, shl(96, provider)))
            mstore(add(m, 0x60), and(batch, 0xffffffff))
            mstore(add(m, 0x80), and(owed, 0xffffffffffffffff))
            result := keccak256(m, 0xa0)
        }
    }

    /// @notice What is signed: the EIP-712 digest of a struct hash.
    function digest(bytes32 domain, bytes32 structHash) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let m := mload(0x40)
            mstore(m, hex"1901")
            mstore(add(m, 0x02), domain)
            mstore(add(m, 0x22), structHash)
            result := keccak256(m, 0x42)
        }
    }

    /// @notice Identity of a channel: `keccak256(abi.encode(payer, signer, keeper))`.
    function channelId(address payer, address signer, address keeper) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let m := mload(0x40)
            mstore(m, shr(96, shl(96, payer)))
            mstore(add(m, 0x20), shr(96, shl(96, signer)))
            mstore(add(m, 0x40), shr(96, shl(96, keeper)))
            result := keccak256(m, 0x60)
        }
    }
}
