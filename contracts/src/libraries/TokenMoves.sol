// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";

import {ISignatureTransfer} from "../interfaces/ISignatureTransfer.sol";
import {Authorization} from "../types/Authorization.sol";
import {TypeHashes} from "./TypeHashes.sol";

/// @title TokenMoves: takes tokens in and destroys them, whatever ERC-20 it is
/// @dev The accounts are 64-bit promises of exact amounts. A token that takes a fee, returns false or delivers anything
/// but what was asked for is refused at the first deposit.
library TokenMoves {
    using SafeTransferLib for address;

    /// @notice The token delivered another amount than was asked for. Such a token cannot be used here.
    error InexactPull(uint256 received, uint64 asked);

    /// @dev Permit2 has this address on every chain.
    ISignatureTransfer internal constant PERMIT2 = ISignatureTransfer(0x000000000022D473030F116dDEE9F6B43aC78BA3);

    /// @notice Takes `amount` from the caller by its allowance.
    function pull(address token, uint64 amount) internal {
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        _requireExact(token, before, amount);
    }

    /// @notice Uses the caller's EIP-2612 permit, then takes `amount`.
    function pullPermitted(address token, uint64 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) internal {
        // Whoever saw the permit may have used it before; then the allowance is there and the pull succeeds.
        try IERC20Permit(token).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
        pull(token, amount);
    }

    /// @notice Takes `amount` from `payer` by its ERC-3009 authorization.
    function pullAuthorized(address token, address payer, uint64 amount, bytes32 nonce, Authorization calldata a)
        internal
    {
        uint256 before = token.balanceOf(address(this));
        IERC3009(token)
            .receiveWithAuthorization(payer, address(this), amount, a.validAfter, a.validBefore, nonce, a.v, a.r, a.s);
        _requireExact(token, before, amount);
    }

    /// @notice Takes `amount` from `payer` by its Permit2 signature over `witness`.
    function pullPermit2(
        address payer,
        bytes32 witness,
        ISignatureTransfer.PermitTransferFrom memory permit,
        bytes calldata signature
    ) internal {
        address token = permit.permitted.token;
        uint256 amount = permit.permitted.amount;
        uint256 before = token.balanceOf(address(this));
        PERMIT2.permitWitnessTransferFrom(
            permit,
            ISignatureTransfer.SignatureTransferDetails(address(this), amount),
            payer,
            witness,
            TypeHashes.CHANNEL_WITNESS,
            signature
        );
        _requireExact(token, before, uint64(amount));
    }

    /// @notice Sends `amount`, or reports that the token refuses.
    function trySend(address token, address to, uint256 amount) internal returns (bool) {
        (bool done, bytes memory result) = token.call(abi.encodeWithSignature("transfer(address,uint256)", to, amount));
        return done && (result.length == 0 || (result.length >= 32 && bytes32(result) == bytes32(uint256(1))));
    }

    /// @notice Destroys `amount`. A token without a public `burn` stays here for good: it belongs to no account.
    function destroy(address token, uint256 amount) internal {
        (bool done,) = token.call(abi.encodeWithSignature("burn(uint256)", amount));
        // Either way nobody can ever have it.
        done;
    }

    function _requireExact(address token, uint256 before, uint64 asked) private view {
        uint256 received = token.balanceOf(address(this)) - before;
        if (received != asked) revert InexactPull(received, asked);
    }
}
