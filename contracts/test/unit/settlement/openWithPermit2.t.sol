// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {Permit2Deployer} from "../../utils/Permit2Deployer.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {Signing} from "../../utils/Signing.sol";
import {vm} from "../../utils/Vm.sol";

/// @notice What Permit2 tells about itself.
interface IDomain {
    function DOMAIN_SEPARATOR() external view returns (bytes32);
}

contract OpenWithPermit2Test is SettlementFixture {
    uint256 private constant NONCE = 7;

    address private permit2;
    uint256 private deadline;
    bytes private signature;

    function setUp() public override {
        super.setUp();
        permit2 = Permit2Deployer.deploy();
        vm.startPrank(client);
        token.approve(address(settlement), 0);
        token.approve(permit2, type(uint256).max);
        vm.stopPrank();
        deadline = block.timestamp + 10;
        signature = _sign(CLIENT_KEY);
    }

    /// @dev Written out from the standard, not from the contract's constants.
    function _sign(uint256 key) private view returns (bytes memory) {
        bytes32 permitted =
            keccak256(abi.encode(keccak256("TokenPermissions(address token,uint256 amount)"), address(token), DEPOSIT));
        bytes32 witness = keccak256(
            abi.encode(
                keccak256("Channel(address signer,address keeper,string purpose)"),
                session,
                keeper,
                keccak256("Open a Capa channel: the signer may spend this amount with the keeper")
            )
        );
        bytes32 hash = keccak256(
            abi.encode(
                keccak256(
                    "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Channel witness)"
                    "Channel(address signer,address keeper,string purpose)TokenPermissions(address token,uint256 amount)"
                ),
                permitted,
                address(settlement),
                NONCE,
                deadline,
                witness
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, Signing.digest(IDomain(permit2).DOMAIN_SEPARATOR(), hash));
        return abi.encodePacked(r, s, v);
    }

    function _submit(address payer, address signer, address to, uint64 amount) private {
        vm.prank(stranger);
        settlement.openWithPermit2(payer, signer, to, amount, NONCE, deadline, signature);
    }

    function _refuses(address payer, address signer, address to, uint64 amount, bytes4 reason) private {
        vm.expectPartialRevert(reason);
        _submit(payer, signer, to, amount);
        vm.assertEq(token.balanceOf(address(settlement)), 0, "nothing moved");
    }

    function test_RevertWhen_Paused() external {
        vm.prank(guardian);
        settlement.pause();
        vm.expectRevert(abi.encodeWithSelector(Pausable.EnforcedPause.selector));
        _submit(client, session, keeper, DEPOSIT);
    }

    function test_RevertWhen_ItIsForAnotherChannel() external {
        bytes4 reason = bytes4(keccak256("InvalidSigner()"));
        _refuses(client, stranger, keeper, DEPOSIT, reason);
        _refuses(client, session, bob, DEPOSIT, reason);
        _refuses(client, session, keeper, DEPOSIT - 1, reason);
        _refuses(keeper, session, keeper, DEPOSIT, reason);
        signature = _sign(SESSION_KEY);
        _refuses(client, session, keeper, DEPOSIT, reason);
    }

    function test_RevertWhen_ItHasEnded() external {
        vm.warp(deadline + 1);
        _refuses(client, session, keeper, DEPOSIT, bytes4(keccak256("SignatureExpired(uint256)")));
    }

    function test_RevertWhen_UsedTwice() external {
        _submit(client, session, keeper, DEPOSIT);
        vm.expectPartialRevert(bytes4(keccak256("InvalidNonce()")));
        _submit(client, session, keeper, DEPOSIT);
        vm.assertEq(_channel().deposit, DEPOSIT, "once");
    }

    function test_WhenValid() external {
        uint256 before = token.balanceOf(client);
        vm.expectEmit(address(settlement));
        emit IEscrow.ChannelOpened(channelId, client, keeper, session, DEPOSIT, DEPOSIT);
        _submit(client, session, keeper, DEPOSIT);
        vm.assertEq(_channel().deposit, DEPOSIT, "deposit");
        vm.assertEq(before - token.balanceOf(client), DEPOSIT, "paid by the payer");
        vm.assertEq(token.allowance(client, address(settlement)), 0, "no allowance");
    }
}
