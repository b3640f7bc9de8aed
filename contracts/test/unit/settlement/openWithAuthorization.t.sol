// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {Authorization} from "../../../src/types/Authorization.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {Signing} from "../../utils/Signing.sol";
import {vm} from "../../utils/Vm.sol";

contract OpenWithAuthorizationTest is SettlementFixture {
    bytes32 private constant RECEIVE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );

    Authorization private a;

    function setUp() public override {
        super.setUp();
        vm.prank(client);
        token.approve(address(settlement), 0);
        a.validAfter = block.timestamp - 1;
        a.validBefore = block.timestamp + 10;
        a.salt = keccak256("salt");
        _sign();
    }

    function _sign() private {
        bytes32 nonce = keccak256(abi.encode(session, keeper, a.salt));
        bytes32 hash =
            keccak256(abi.encode(RECEIVE, client, address(settlement), DEPOSIT, a.validAfter, a.validBefore, nonce));
        (a.v, a.r, a.s) = vm.sign(CLIENT_KEY, Signing.digest(token.DOMAIN_SEPARATOR(), hash));
    }

    function _submit(address payer, address signer, address to, uint64 amount) private {
        vm.prank(stranger);
        settlement.openWithAuthorization(payer, signer, to, amount, a);
    }

    function _refuses(address payer, address signer, address to, uint64 amount) private {
        // The token's own reasons differ; what counts is that nothing moves.
        vm.prank(stranger);
        try settlement.openWithAuthorization(payer, signer, to, amount, a) {
            vm.assertTrue(false, "opened");
        } catch {}
        vm.assertEq(token.balanceOf(address(settlement)), 0, "nothing moved");
    }

    function test_RevertWhen_Paused() external {
        vm.prank(guardian);
        settlement.pause();
        vm.expectRevert(abi.encodeWithSelector(Pausable.EnforcedPause.selector));
        _submit(client, session, keeper, DEPOSIT);
    }

    function test_RevertWhen_ItIsForAnotherChannel() external {
        _refuses(client, stranger, keeper, DEPOSIT);
        _refuses(client, session, bob, DEPOSIT);
        _refuses(client, session, keeper, DEPOSIT - 1);
        _refuses(keeper, session, keeper, DEPOSIT);
        a.salt = keccak256("other salt");
        _refuses(client, session, keeper, DEPOSIT);
    }

    function test_RevertWhen_ItIsNotValidNow() external {
        uint256 start = block.timestamp;
        vm.warp(a.validAfter);
        _refuses(client, session, keeper, DEPOSIT);
        vm.warp(a.validBefore);
        _refuses(client, session, keeper, DEPOSIT);
        vm.warp(start);
        _submit(client, session, keeper, DEPOSIT);
    }

    function test_RevertWhen_UsedTwice() external {
        _submit(client, session, keeper, DEPOSIT);
        bytes32 nonce = settlement.authorizationNonce(session, keeper, a.salt);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, client, nonce));
        settlement.openWithAuthorization(client, session, keeper, DEPOSIT, a);
        vm.assertEq(_channel().deposit, DEPOSIT, "once");
    }

    function test_RevertWhen_SubmittedToTheToken() external {
        bytes32 nonce = settlement.authorizationNonce(session, keeper, a.salt);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(settlement)));
        token.receiveWithAuthorization(
            client, address(settlement), DEPOSIT, a.validAfter, a.validBefore, nonce, a.v, a.r, a.s
        );
    }

    function test_WhenValid() external {
        uint256 before = token.balanceOf(client);
        vm.expectEmit(address(settlement));
        emit IEscrow.ChannelOpened(channelId, client, keeper, session, DEPOSIT, DEPOSIT);
        _submit(client, session, keeper, DEPOSIT);
        vm.assertEq(_channel().deposit, DEPOSIT, "deposit");
        vm.assertEq(before - token.balanceOf(client), DEPOSIT, "paid by the payer");
        vm.assertTrue(token.authorizationState(client, settlement.authorizationNonce(session, keeper, a.salt)), "used");
    }
}
