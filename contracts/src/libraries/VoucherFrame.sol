// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {TypeHashes} from "./TypeHashes.sol";

/// @title VoucherFrame: finds the channels of a list of packed vouchers
/// @notice What all vouchers of a list share is written to memory once; each voucher then fills in its own fields. This is
/// the hottest path of the protocol, hence assembly: `MessageHash` and `CompactSignature` are its readable twins.
/// @dev A frame is 16 words:
/// 0x000 type hash | 0x020 payer | 0x040 keeper | 0x060 batch | 0x080 total | 0x0a0 hash of `latest`: the voucher;
/// 0x0de 0x1901 | 0x0e0 domain | 0x100 struct hash: the digest;
/// 0x120 digest | 0x140 v | 0x160 r | 0x180 s: the input of the signature recovery;
/// 0x1a0 payer | 0x1c0 signer | 0x1e0 keeper: the channel.
library VoucherFrame {
    type Frame is uint256;

    /// @dev Half of the curve's order. Above it a second valid signature of the same message exists.
    uint256 private constant MAX_S = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @notice A frame for vouchers of one batch.
    function create(bytes32 domain, uint256 batch) internal pure returns (Frame frame) {
        bytes32 typeHash = TypeHashes.VOUCHER;
        assembly ("memory-safe") {
            frame := mload(0x40)
            mstore(0x40, add(frame, 0x200))
            mstore(frame, typeHash)
            mstore(add(frame, 0x60), batch)
            mstore(add(frame, 0xc0), 0x1901)
            mstore(add(frame, 0xe0), domain)
        }
    }

    /// @notice Sets the keeper of the vouchers that follow.
    function setKeeper(Frame frame, address keeper) internal pure {
        assembly ("memory-safe") {
            keeper := shr(96, shl(96, keeper))
            mstore(add(frame, 0x40), keeper)
            mstore(add(frame, 0x1e0), keeper)
        }
    }

    /// @notice The keeper of the vouchers.
    function keeper(Frame frame) internal pure returns (address account) {
        assembly ("memory-safe") {
            account := mload(add(frame, 0x40))
        }
    }

    /// @notice The channel whose session key signed a voucher, and the voucher's total. The channel is 0, which is nobody's
    /// and holds nothing, if the signature is malformed: what fails anyway need not be asked for in the hottest loop.
    /// @param at Where in calldata the voucher stands: payer 20, total 8, hash of `latest` 32, r 32, vs 32.
    function channelOf(Frame frame, uint256 at) internal view returns (bytes32 id, uint256 total) {
        assembly ("memory-safe") {
            let payer := shr(96, calldataload(at))
            total := shr(192, calldataload(add(at, 20)))
            mstore(add(frame, 0x20), payer)
            mstore(add(frame, 0x80), total)
            mstore(add(frame, 0xa0), calldataload(add(at, 28)))
            mstore(add(frame, 0x100), keccak256(frame, 0xc0))

            let m := add(frame, 0x120)
            let vs := calldataload(add(at, 92))
            let s := shr(1, shl(1, vs))
            mstore(m, keccak256(add(frame, 0xde), 0x42))
            mstore(add(m, 0x20), add(27, shr(255, vs)))
            mstore(add(m, 0x40), calldataload(add(at, 60)))
            mstore(add(m, 0x60), s)
            mstore(add(m, 0x80), payer)
            // A failed recovery returns no data; a successful one returns the signer, never zero, in a word.
            pop(staticcall(gas(), 1, m, 0x80, add(m, 0xa0), 0x20))
            let valid := and(eq(returndatasize(), 0x20), iszero(gt(s, MAX_S)))
            id := mul(keccak256(add(m, 0x80), 0x60), valid)
        }
    }
}
