// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {AuthorizationFixture} from "../../utils/AuthorizationFixture.sol";
import {ContractWallet} from "../../utils/ContractWallet.sol";
import {Signing} from "../../utils/Signing.sol";
import {vm} from "../../utils/Vm.sol";

contract TransferWithAuthorizationTest is AuthorizationFixture {
    /// @dev Refused in both forms.
    function _refuses(Authorization memory a, Signature memory s, bytes memory reason) private {
        vm.expectRevert(reason);
        _transfer(a, s);
        vm.expectRevert(reason);
        _transfer(a, _packed(s));
    }

    function _refusesAt(uint256 validAfter, uint256 validBefore) private {
        Authorization memory a = _authorization();
        (a.validAfter, a.validBefore) = (validAfter, validBefore);
        Signature memory s = _signature(ANN_KEY, TRANSFER_WITH_AUTHORIZATION, a);
        bytes4 selector = ERC3009.ERC3009InvalidAuthorizationTime.selector;
        _refuses(a, s, abi.encodeWithSelector(selector, validAfter, validBefore));
    }

    function test_RevertWhen_TheTimeIsWrong() external {
        _refusesAt(block.timestamp, block.timestamp + 1);
        _refusesAt(block.timestamp - 2, block.timestamp);
        // A block height of 0 to 2^46 would be valid now: times are seconds only.
        _refusesAt(BLOCK_FLAG, BLOCK_FLAG | (1 << 46));
    }

    function test_RevertWhen_AnotherSigned() external {
        Authorization memory a = _authorization();
        Signature memory s = _signature(0xbad, TRANSFER_WITH_AUTHORIZATION, a);
        _refuses(a, s, abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector));
    }

    function test_RevertWhen_SomethingElseWasSigned() external {
        bytes memory reason = abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector);
        Authorization memory a = _authorization();
        Signature memory s = _signature(ANN_KEY, TRANSFER_WITH_AUTHORIZATION, a);
        a.to = stranger;
        _refuses(a, s, reason);
        a = _authorization();
        a.nonce = keccak256("another nonce");
        _refuses(a, s, reason);
        a = _authorization();
        a.validBefore = ALWAYS - 1;
        _refuses(a, s, reason);
        // An authorization to receive is not one to transfer.
        a = _authorization();
        _refuses(a, _signature(ANN_KEY, RECEIVE_WITH_AUTHORIZATION, a), reason);
    }

    function test_RevertWhen_TheSignatureIsMalformed() external {
        Authorization memory a = _authorization();
        Signature memory s = _flipped(_signature(ANN_KEY, TRANSFER_WITH_AUTHORIZATION, a));
        vm.expectRevert(abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureS.selector, s.s));
        _transfer(a, s);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector));
        _transfer(a, _packed(s));
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector));
        _transfer(a, "");
        // Recovers nobody, which must not pass for address zero.
        a.from = address(0);
        vm.expectRevert(abi.encodeWithSelector(ECDSA.ECDSAInvalidSignature.selector));
        _transfer(a, Signature(0, 0, 0));
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector));
        _transfer(a, _packed(Signature(0, 0, 0)));
    }

    function test_RevertWhen_TheBalanceIsTooLow() external {
        vm.prank(ann);
        token.transfer(stranger, 994);
        Authorization memory a = _authorization();
        Signature memory s = _signature(ANN_KEY, TRANSFER_WITH_AUTHORIZATION, a);
        _refuses(a, s, abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, ann, 6, 7));
        vm.assertFalse(token.authorizationState(ann, NONCE), "still usable");
    }

    function test_RevertWhen_TheNonceWasUsed() external {
        Authorization memory a = _authorization();
        Signature memory s = _signature(ANN_KEY, TRANSFER_WITH_AUTHORIZATION, a);
        _transfer(a, s);
        _refuses(a, s, abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, ann, NONCE));
        // The receiver's form shares the nonces.
        s = _signature(ANN_KEY, RECEIVE_WITH_AUTHORIZATION, a);
        vm.startPrank(bob);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, ann, NONCE));
        _receive(a, s);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, ann, NONCE));
        _receive(a, _packed(s));
    }

    function _moves(bytes32 nonce, bool packed) private {
        Authorization memory a = _authorization();
        a.nonce = nonce;
        (a.validAfter, a.validBefore) = (block.timestamp - 1, block.timestamp + 1);
        Signature memory s = _signature(ANN_KEY, TRANSFER_WITH_AUTHORIZATION, a);
        uint256 before = token.balanceOf(bob);
        vm.assertFalse(token.authorizationState(ann, nonce), "unused");
        vm.expectEmit(address(token));
        emit IERC3009.AuthorizationUsed(ann, nonce);
        vm.prank(stranger);
        packed ? _transfer(a, _packed(s)) : _transfer(a, s);
        vm.assertEq(token.balanceOf(bob), before + 7, "moved");
        vm.assertTrue(token.authorizationState(ann, nonce), "used");
    }

    function test_WhenTheHolderSigned() external {
        _moves("first", false);
        _moves("second", true);
        // Both nonces are free for others.
        vm.assertFalse(token.authorizationState(bob, "first"), "another's nonce");
    }

    function test_GivenTheHolderIsAContract() external {
        ContractWallet wallet = new ContractWallet();
        vm.prank(ann);
        token.transfer(address(wallet), 10);
        Authorization memory a = _authorization();
        a.from = address(wallet);
        bytes memory signature = "as long as the wallet likes, for example 65 bytes or, as here, more";
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector));
        _transfer(a, signature);
        bytes32 structHash =
            keccak256(abi.encode(TRANSFER_WITH_AUTHORIZATION, a.from, a.to, 7, a.validAfter, a.validBefore, a.nonce));
        wallet.sign(Signing.digest(token.DOMAIN_SEPARATOR(), structHash), signature);
        _transfer(a, signature);
        vm.assertEq(token.balanceOf(bob), 7, "moved");
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, a.from, NONCE));
        _transfer(a, signature);
    }
}
