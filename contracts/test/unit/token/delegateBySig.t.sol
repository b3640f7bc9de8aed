// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {TokenFixture} from "../../utils/TokenFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract DelegateBySigTest is TokenFixture {
    bytes32 private constant DELEGATION = keccak256("Delegation(address delegatee,uint256 nonce,uint256 expiry)");

    function _delegation(uint256 nonce, uint256 expiry) private view returns (uint8, bytes32, bytes32) {
        return _sign(ANN_KEY, keccak256(abi.encode(DELEGATION, bob, nonce, expiry)));
    }

    function test_RevertWhen_ItHasExpired() external {
        uint256 expiry = block.timestamp - 1;
        (uint8 v, bytes32 r, bytes32 s) = _delegation(0, expiry);
        vm.expectRevert(abi.encodeWithSelector(IVotes.VotesExpiredSignature.selector, expiry));
        token.delegateBySig(bob, 0, expiry, v, r, s);
    }

    function test_RevertWhen_TheNonceIsNotTheNext() external {
        (uint8 v, bytes32 r, bytes32 s) = _delegation(1, block.timestamp);
        vm.expectRevert(abi.encodeWithSelector(Nonces.InvalidAccountNonce.selector, ann, 0));
        token.delegateBySig(bob, 1, block.timestamp, v, r, s);
    }

    function test_WhenTheHolderSigned() external {
        (uint8 v, bytes32 r, bytes32 s) = _delegation(0, block.timestamp);
        vm.expectEmit(address(token));
        emit IVotes.DelegateChanged(ann, address(0), bob);
        vm.prank(stranger);
        token.delegateBySig(bob, 0, block.timestamp, v, r, s);
        vm.assertEq(token.getVotes(bob), 1000, "votes");
        vm.assertEq(token.nonces(ann), 1, "nonce");
        vm.expectRevert(abi.encodeWithSelector(Nonces.InvalidAccountNonce.selector, ann, 1));
        token.delegateBySig(bob, 0, block.timestamp, v, r, s);
    }
}
