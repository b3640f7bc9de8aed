// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Settlement} from "../../src/Settlement.sol";
import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {Calls} from "../utils/Calls.sol";
import {vm} from "../utils/Vm.sol";
import {AttackFixture} from "./AttackFixture.sol";

/// @notice Nothing is replayed: the EIP-712 domain, cumulative totals and batch numbers see to it.
contract ReplayAttacks is AttackFixture {
    uint256 private constant ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    function setUp() public override {
        super.setUp();
        _start();
        vm.prank(client);
        settlement.open(session, ann, DEPOSIT);
    }

    function _direct40() private view returns (bytes memory) {
        return _sign(SESSION_KEY, _voucherOf(client, ann, 0, 40 * CAPA, ann, 40 * CAPA));
    }

    function test_AVoucherIsWorthNothingOnAnotherChain() external {
        bytes memory item = _item(_voucher(1, 40 * CAPA, ann, 39 * CAPA));
        bytes memory acceptance = _acceptance(ann, 1, 30 * CAPA);
        bytes memory direct = _direct40();
        vm.chainId(block.chainid + 1);
        _collectMustFail(item, ISettlement.TotalAboveDeposit.selector);
        _mustFail(stranger, Calls.redeem(ann, direct), ISettlement.TotalAboveDeposit.selector);
        _heartbeat();
        bytes memory data = abi.encodeCall(ISettlement.challenge, (keeper, acceptance));
        _mustFail(stranger, data, ISettlement.NotSignedByKeeper.selector);
    }

    /// @dev The same parties in a second settlement, for example of another token.
    function test_AVoucherIsWorthNothingInAnotherContract() external {
        bytes memory item = _item(_voucher(1, 40 * CAPA, ann, 39 * CAPA));
        Settlement first = settlement;
        settlement = _settle(address(token));
        vm.startPrank(keeper);
        token.approve(address(settlement), BOND);
        settlement.bond(BOND, bondOwner);
        vm.stopPrank();
        vm.startPrank(client);
        token.approve(address(settlement), DEPOSIT);
        settlement.open(session, keeper, DEPOSIT);
        vm.stopPrank();
        _collectMustFail(item, ISettlement.TotalAboveDeposit.selector);
        settlement = first;
        _collectItems(item);
        vm.assertEq(_channel().spent, 40 * CAPA, "where it was signed it counts");
    }

    function test_AVoucherIsWorthNothingToAnotherKeeper() external {
        _bondMallory();
        vm.prank(client);
        settlement.open(session, mallory, DEPOSIT);
        bytes memory item = _item(_voucher(1, 40 * CAPA, ann, 39 * CAPA));
        bytes memory data = abi.encodeCall(ISettlement.collect, (item));
        _mustFail(mallory, data, ISettlement.TotalAboveDeposit.selector);
    }

    function test_AVoucherIsWorthNothingInAnotherBatch() external {
        bytes memory item = _item(_voucher(1, 40 * CAPA, ann, 39 * CAPA));
        _heartbeat();
        _skip(W);
        _collectMustFail(item, ISettlement.TotalAboveDeposit.selector);
        _collectMustFail(_item(_voucher(3, 40 * CAPA, ann, 39 * CAPA)), ISettlement.TotalAboveDeposit.selector);
        _collectItems(_item(_voucher(2, 40 * CAPA, ann, 39 * CAPA)));
    }

    function test_ADirectVoucherIsNoVoucherOfABatchAndTheReverse() external {
        _collectMustFail(_direct(40 * CAPA), ISettlement.TotalAboveDeposit.selector);
        bytes memory item = _item(_voucher(1, 40 * CAPA, ann, 39 * CAPA));
        _mustFail(keeper, Calls.redeem(keeper, item), ISettlement.TotalAboveDeposit.selector);
    }

    function test_ADirectVoucherPaysOnce() external {
        bytes memory item = _direct40();
        settlement.redeem(ann, item);
        _mustFail(stranger, Calls.redeem(ann, item), ISettlement.TotalNotAbove.selector);
        _mustFail(stranger, Calls.redeem(mallory, item), ISettlement.TotalAboveDeposit.selector);
        vm.assertEq(token.balanceOf(ann), 39_600_000_000, "40 less the fee, once");
    }

    /// @dev Totals go on where they stood: what was paid before the channel was emptied is not paid again.
    function test_AReopenedChannelPaysNoOldVoucher() external {
        bytes memory item = _direct40();
        settlement.redeem(ann, item);
        vm.startPrank(client);
        settlement.close(session, ann);
        _skip(THAW);
        settlement.withdraw(session, ann);
        settlement.open(session, ann, DEPOSIT);
        vm.stopPrank();
        _mustFail(stranger, Calls.redeem(ann, item), ISettlement.TotalNotAbove.selector);
        settlement.redeem(ann, _sign(SESSION_KEY, _voucherOf(client, ann, 0, 41 * CAPA, ann, 41 * CAPA)));
        vm.assertEq(_channelOf(client, session, ann).spent, 41 * CAPA, "one more CAPA, not 41");
    }

    function test_AnAcceptanceIsWorthNothingInAnotherBatchOrFromAnotherKeeper() external {
        bytes memory acceptance = _acceptance(ann, 1, 30 * CAPA);
        _heartbeat();
        _skip(W);
        _heartbeat();
        bytes memory data = abi.encodeCall(ISettlement.challenge, (keeper, acceptance));
        _mustFail(stranger, data, ISettlement.WrongBatch.selector);
        acceptance = _acceptanceBy(MALLORY_KEY, ann, 2, 30 * CAPA);
        data = abi.encodeCall(ISettlement.challenge, (keeper, acceptance));
        _mustFail(stranger, data, ISettlement.NotSignedByKeeper.selector);
    }

    /// @dev A recovery needs the acceptance of this very voucher, provider and batch.
    function test_AnAcceptanceIsWorthNothingWithAnotherVoucher() external {
        bytes memory lower = _recovery(_voucher(1, 40 * CAPA, ann, 30 * CAPA), 30 * CAPA);
        bytes memory higher = _recovery(_voucher(1, 90 * CAPA, ann, 80 * CAPA), 30 * CAPA);
        _lapse();
        // The higher voucher with the acceptance of the lower one: the last 72 bytes.
        for (uint256 i = 156; i < 228; ++i) {
            higher[i] = lower[i];
        }
        bytes memory data = abi.encodeCall(ISettlement.recover, (keeper, higher));
        _mustFail(stranger, data, ISettlement.NotSignedByKeeper.selector);
    }

    /// @dev An s above half the curve's order, the least of them, in every list that takes a signature.
    function test_AHighSIsRefusedEverywhere() external {
        bytes4 reason = ISettlement.InvalidSignature.selector;
        _collectMustFail(_replace(_item(_voucher(1, 40 * CAPA, ann, 39 * CAPA)), 92, ORDER / 2 + 1), reason);
        _mustFail(stranger, Calls.redeem(ann, _replace(_direct40(), 92, ORDER / 2 + 1)), reason);
        bytes memory recovery = _recovery(_voucher(1, 40 * CAPA, ann, 30 * CAPA), 30 * CAPA);
        _heartbeat();
        bytes memory acceptance = _replace(_acceptance(ann, 1, 30 * CAPA), 96, ORDER / 2 + 1);
        _mustFail(stranger, abi.encodeCall(ISettlement.challenge, (keeper, acceptance)), reason);
        _void(ann, 30 * CAPA);
        bytes memory high = _replace(recovery, 124, ORDER / 2 + 1);
        _mustFail(stranger, abi.encodeCall(ISettlement.recover, (keeper, high)), reason);
        high = _replace(recovery, 196, ORDER / 2 + 1);
        _mustFail(stranger, abi.encodeCall(ISettlement.recover, (keeper, high)), reason);
        _recover(recovery);
        vm.assertEq(token.balanceOf(ann), BOND / 10 + 30 * CAPA, "the true one counts, once");
    }

    /// @dev The twin of a signature has s' = n - s and the other parity. The compact form has no room for both: what is
    /// left of s' is a signature by a stranger.
    function test_TheTwinOfASignatureSignsNothing() external {
        bytes memory item = _item(_voucher(1, 40 * CAPA, ann, 39 * CAPA));
        _collectMustFail(_replace(item, 92, ORDER - _lowS(item, 92)), ISettlement.TotalAboveDeposit.selector);
        _heartbeat();
        bytes memory acceptance = _acceptance(ann, 1, 30 * CAPA);
        bytes memory twin = _replace(acceptance, 96, ORDER - _lowS(acceptance, 96));
        bytes memory data = abi.encodeCall(ISettlement.challenge, (keeper, twin));
        _mustFail(stranger, data, ISettlement.NotSignedByKeeper.selector);
    }

    function _lowS(bytes memory item, uint256 at) private pure returns (uint256 vs) {
        assembly ("memory-safe") {
            vs := mload(add(add(item, 0x20), at))
        }
        vs &= type(uint256).max >> 1;
    }

    function _replace(bytes memory item, uint256 at, uint256 word) private pure returns (bytes memory changed) {
        changed = bytes.concat(item);
        assembly ("memory-safe") {
            mstore(add(add(changed, 0x20), at), word)
        }
    }

    function test_AnEmptySignatureIsRefused() external {
        bytes memory item = _item(_voucher(1, 40 * CAPA, ann, 39 * CAPA));
        for (uint256 i = 60; i < 124; ++i) {
            item[i] = 0;
        }
        _collectMustFail(item, ISettlement.InvalidSignature.selector);
    }

    /// @dev EIP-7702 lets a key point at code. What it signed before stays good, and the code signs nothing for it.
    function test_CodeOnASigningKeyVoidsNothing() external {
        bytes memory delegation = abi.encodePacked(hex"ef0100", mallory);
        vm.etch(session, delegation);
        vm.etch(keeper, delegation);
        _collectItems(_item(_voucher(1, 40 * CAPA, ann, 39 * CAPA)));
        _commitGarbage();
        _void(ann, 30 * CAPA);
        _recover(_recovery(_voucher(1, 40 * CAPA, ann, 30 * CAPA), 30 * CAPA));
        vm.assertEq(token.balanceOf(ann), BOND / 10 + 30 * CAPA, "voucher and acceptance count");
    }
}
