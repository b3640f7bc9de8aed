// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title CompactSignature: EIP-2098 signatures by plain keys
/// @dev Deliberately without ERC-1271: code put on a session key or keeper key by EIP-7702 must not void what it signed.
library CompactSignature {
    /// @dev Half of the curve's order. Above it a second valid signature of the same message exists.
    uint256 private constant MAX_S = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @notice The signer of `digest`; zero if the signature is malformed, has a high `s`, or recovers nobody.
    function recover(bytes32 digest, bytes32 r, bytes32 vs) internal view returns (address signer) {
        assembly ("memory-safe") {
            let s := shr(1, shl(1, vs))
            if iszero(gt(s, MAX_S)) {
                let m := mload(0x40)
                mstore(m, digest)
                mstore(add(m, 0x20), add(27, shr(255, vs)))
                mstore(add(m, 0x40), r)
                mstore(add(m, 0x60), s)
                // A failed recovery returns no data, and then the word read here must be zero.
                mstore(0x00, 0)
                pop(staticcall(gas(), 1, m, 0x80, 0x00, 0x20))
                signer := mload(0x00)
            }
        }
    }
}
