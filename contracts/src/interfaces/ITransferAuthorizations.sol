// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title TransferAuthorizations: ERC-3009 with signatures of contracts too
/// @notice The standard's functions with the signature as bytes, as USDC has them, which x402 clients call for contract
/// accounts. An account with code is asked by ERC-1271 whether it signed. Any other account's key signs: 65 bytes `r`, `s`,
/// `v`.
interface ITransferAuthorizations {
    /// @notice As the standard's `transferWithAuthorization`.
    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;

    /// @notice As the standard's `receiveWithAuthorization`.
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;

    /// @notice As the standard's `cancelAuthorization`.
    function cancelAuthorization(address authorizer, bytes32 nonce, bytes calldata signature) external;
}
