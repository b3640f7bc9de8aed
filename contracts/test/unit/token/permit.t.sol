// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {TokenFixture} from "../../utils/TokenFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract PermitTest is TokenFixture {
    bytes32 private constant PERMIT =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    function _permit(uint256 key, uint256 nonce, uint256 deadline) private view returns (uint8, bytes32, bytes32) {
        return _sign(key, keccak256(abi.encode(PERMIT, ann, bob, 7, nonce, deadline)));
    }

    function test_RevertWhen_TheDeadlineHasPassed() external {
        (uint8 v, bytes32 r, bytes32 s) = _permit(ANN_KEY, 0, block.timestamp - 1);
        vm.expectRevert(abi.encodeWithSelector(ERC20Permit.ERC2612ExpiredSignature.selector, block.timestamp - 1));
        token.permit(ann, bob, 7, block.timestamp - 1, v, r, s);
    }

    function test_RevertWhen_AnotherSigned() external {
        (uint8 v, bytes32 r, bytes32 s) = _permit(0xbad, 0, block.timestamp);
        vm.expectRevert(abi.encodeWithSelector(ERC20Permit.ERC2612InvalidSigner.selector, vm.addr(0xbad), ann));
        token.permit(ann, bob, 7, block.timestamp, v, r, s);
    }

    function test_WhenTheHolderSigned() external {
        (uint8 v, bytes32 r, bytes32 s) = _permit(ANN_KEY, 0, block.timestamp);
        token.permit(ann, bob, 7, block.timestamp, v, r, s);
        vm.assertEq(token.allowance(ann, bob), 7, "allowance");
        vm.assertEq(token.nonces(ann), 1, "nonce");
        vm.expectPartialRevert(ERC20Permit.ERC2612InvalidSigner.selector);
        token.permit(ann, bob, 7, block.timestamp, v, r, s);
    }
}
