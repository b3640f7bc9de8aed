// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {TokenFixture} from "./TokenFixture.sol";
import {vm} from "./Vm.sol";

/// @notice Signed transfers in both forms of the signature: as `v`, `r`, `s`, and as bytes.
abstract contract AuthorizationFixture is TokenFixture {
    // The numbers that EIP-3009 and USDC publish, so that the contract's text of the types is checked against them.
    bytes32 internal constant TRANSFER_WITH_AUTHORIZATION =
        0x7c7c6cdb67a18743f49ec6fa9b35f50d52ed05cbed4cc592e13b44501c1a2267;
    bytes32 internal constant RECEIVE_WITH_AUTHORIZATION =
        0xd099cc98ef71107a616c4f0f941f04c322d8e254fe26b3c6668db87aae413de8;
    bytes32 internal constant CANCEL_AUTHORIZATION = 0x158b0a9edf7a828aad02f63cd515c68ef2f50ba807396f6d12842833a1597429;

    bytes32 internal constant NONCE = keccak256("nonce");
    uint256 internal constant ALWAYS = type(uint256).max;
    /// @dev The bit by which the base contract would read both times as block heights.
    uint256 internal constant BLOCK_FLAG = 1 << 47;
    /// @dev Order of the curve. A signature with `s` negated and `v` flipped is one of the same message.
    uint256 internal constant ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    /// @dev A transfer or receipt of seven nano.
    struct Authorization {
        address from;
        address to;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }

    struct Signature {
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// @dev From ann to bob, at any time.
    function _authorization() internal view returns (Authorization memory) {
        return Authorization({from: ann, to: bob, validAfter: 0, validBefore: ALWAYS, nonce: NONCE});
    }

    function _signature(uint256 key, bytes32 typeHash, Authorization memory a)
        internal
        view
        returns (Signature memory signature)
    {
        bytes32 structHash = keccak256(abi.encode(typeHash, a.from, a.to, 7, a.validAfter, a.validBefore, a.nonce));
        (signature.v, signature.r, signature.s) = _sign(key, structHash);
    }

    function _cancellation(uint256 key, address authorizer, bytes32 nonce)
        internal
        view
        returns (Signature memory signature)
    {
        (signature.v, signature.r, signature.s) =
            _sign(key, keccak256(abi.encode(CANCEL_AUTHORIZATION, authorizer, nonce)));
    }

    function _packed(Signature memory s) internal pure returns (bytes memory) {
        return abi.encodePacked(s.r, s.s, s.v);
    }

    function _flipped(Signature memory s) internal pure returns (Signature memory) {
        return Signature({v: s.v == 27 ? 28 : 27, r: s.r, s: bytes32(ORDER - uint256(s.s))});
    }

    function _transfer(Authorization memory a, Signature memory s) internal {
        token.transferWithAuthorization(a.from, a.to, 7, a.validAfter, a.validBefore, a.nonce, s.v, s.r, s.s);
    }

    function _transfer(Authorization memory a, bytes memory signature) internal {
        token.transferWithAuthorization(a.from, a.to, 7, a.validAfter, a.validBefore, a.nonce, signature);
    }

    function _receive(Authorization memory a, Signature memory s) internal {
        token.receiveWithAuthorization(a.from, a.to, 7, a.validAfter, a.validBefore, a.nonce, s.v, s.r, s.s);
    }

    function _receive(Authorization memory a, bytes memory signature) internal {
        token.receiveWithAuthorization(a.from, a.to, 7, a.validAfter, a.validBefore, a.nonce, signature);
    }

    function _cancel(address authorizer, bytes32 nonce, Signature memory s) internal {
        token.cancelAuthorization(authorizer, nonce, s.v, s.r, s.s);
    }
}
