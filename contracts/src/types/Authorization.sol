// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @notice A payer's ERC-3009 authorization. Its nonce follows from the channel and the salt, so it opens no other channel.
struct Authorization {
    /// @dev Unix seconds; usable strictly after this.
    uint256 validAfter;
    /// @dev Unix seconds; usable strictly before this.
    uint256 validBefore;
    /// @dev Makes authorizations for one channel differ.
    bytes32 salt;
    uint8 v;
    bytes32 r;
    bytes32 s;
}
