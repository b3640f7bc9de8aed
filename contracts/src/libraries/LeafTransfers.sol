// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title LeafTransfers: pays every leaf of a packed list
library LeafTransfers {
    /// @notice The token refused a transfer.
    error LeafTransferFailed(address provider, uint64 amount);

    /// @notice Transfers each leaf's amount (8 bytes) to its provider (20 bytes).
    /// @dev Assembly, because this is what is paid per provider: one call's memory serves all. As with OpenZeppelin's
    /// SafeERC20, a token may return true or nothing.
    function payAll(address token, bytes calldata leaves) internal {
        address provider;
        uint256 amount;
        bool failed;
        assembly ("memory-safe") {
            let m := mload(0x40)
            // transfer(address,uint256)
            mstore(m, shl(224, 0xa9059cbb))
            let end := add(leaves.offset, leaves.length)
            for { let p := leaves.offset } lt(p, end) { p := add(p, 28) } {
                provider := shr(96, calldataload(p))
                amount := shr(192, calldataload(add(p, 20)))
                mstore(add(m, 0x04), provider)
                mstore(add(m, 0x24), amount)
                mstore(0x00, 1)
                let done := call(gas(), token, 0, m, 0x44, 0x00, 0x20)
                // Nothing returned leaves the 1 that was there before.
                if iszero(and(done, eq(mload(0x00), 1))) {
                    failed := 1
                    break
                }
            }
        }
        if (failed) revert LeafTransferFailed(provider, uint64(amount));
    }
}
