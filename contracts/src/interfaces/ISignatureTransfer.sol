// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title ISignatureTransfer: the part of Uniswap's Permit2 that opens a channel
interface ISignatureTransfer {
    /// @notice What the owner allows to be taken.
    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    /// @notice What the owner signed, besides the spender and the witness.
    struct PermitTransferFrom {
        TokenPermissions permitted;
        uint256 nonce;
        uint256 deadline;
    }

    /// @notice Where the spender sends what it takes.
    struct SignatureTransferDetails {
        address to;
        uint256 requestedAmount;
    }

    /// @notice Moves the owner's tokens by a signature that also covers the hash `witness`.
    function permitWitnessTransferFrom(
        PermitTransferFrom calldata permit,
        SignatureTransferDetails calldata transferDetails,
        address owner,
        bytes32 witness,
        string calldata witnessTypeString,
        bytes calldata signature
    ) external;
}
