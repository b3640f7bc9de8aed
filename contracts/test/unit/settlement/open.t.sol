// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {Settlement} from "../../../src/Settlement.sol";
import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {TokenMoves} from "../../../src/libraries/TokenMoves.sol";
import {KeeperStatus} from "../../../src/types/KeeperState.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {TaxedToken} from "../../utils/TaxedToken.sol";
import {vm} from "../../utils/Vm.sol";

contract OpenTest is SettlementFixture {
    function test_RevertWhen_Paused() external {
        vm.prank(guardian);
        settlement.pause();
        vm.expectRevert(abi.encodeWithSelector(Pausable.EnforcedPause.selector));
        _open(DEPOSIT);
    }

    function test_RevertWhen_AnAddressIsZero() external {
        vm.startPrank(client);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.ZeroAddress.selector));
        settlement.open(address(0), keeper, DEPOSIT);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.ZeroAddress.selector));
        settlement.open(session, address(0), DEPOSIT);
    }

    function test_RevertWhen_TheAmountIsZero() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.ZeroAmount.selector));
        _open(0);
    }

    function _refuses(KeeperStatus status) private {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.WrongKeeperStatus.selector, keeper, status));
        _open(DEPOSIT);
    }

    function test_RevertGiven_RetiringThenClosed() external {
        _bond();
        vm.prank(bondOwner);
        settlement.retire(keeper);
        _refuses(KeeperStatus.Retiring);
        _skip(U);
        vm.prank(bondOwner);
        settlement.unbond(keeper);
        _refuses(KeeperStatus.Closed);
    }

    function test_RevertGiven_WoundDown() external {
        _bond();
        _lapse();
        _refuses(KeeperStatus.WoundDown);
    }

    function test_RevertWhen_TheTokenDeliversLess() external {
        TaxedToken taxed = new TaxedToken();
        Settlement other = new Settlement(address(taxed), _periods(), _settings());
        vm.expectRevert(abi.encodeWithSelector(TokenMoves.InexactPull.selector, DEPOSIT - 1, DEPOSIT));
        other.open(session, keeper, DEPOSIT);
    }

    function test_GivenActive() external {
        _bond();
        uint256 before = token.balanceOf(client);
        vm.expectEmit(address(settlement));
        emit IEscrow.ChannelOpened(channelId, client, keeper, session, DEPOSIT, DEPOSIT);
        _open(DEPOSIT);
        vm.expectEmit(address(settlement));
        emit IEscrow.ChannelOpened(channelId, client, keeper, session, 7, DEPOSIT + 7);
        _open(7);
        vm.assertEq(before - token.balanceOf(client), DEPOSIT + 7, "pulled");
        vm.assertEq(token.balanceOf(address(settlement)), BOND + DEPOSIT + 7, "held");
        vm.assertEq(_channel().deposit, DEPOSIT + 7, "deposit");
    }

    function test_GivenClosing() external {
        _start();
        vm.prank(client);
        settlement.close(session, keeper);
        _open(1);
        vm.assertEq(_channel().thawAt, 0, "the close ended");
    }

    function test_GivenTheKeeperNeverBonded() external {
        _open(DEPOSIT);
        vm.assertEq(_channel().deposit, DEPOSIT, "deposit");
        _assertStatus(KeeperStatus.None);
    }

    function testFuzz_ChannelId(address payer, address signer, address other) external view {
        vm.assertEq(
            settlement.channelId(payer, signer, other), keccak256(abi.encode(payer, signer, other)), "channel id"
        );
    }
}
