// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Voucher} from "../../src/types/Messages.sol";
import {SettlementFixture} from "../utils/SettlementFixture.sol";
import {vm} from "../utils/Vm.sol";

/// @notice A client takes accepted money out of its netted channel by a direct voucher to the same keeper, so that the
/// keeper can no longer collect what it promised a provider. Invariant 8: an honest keeper is never voided, whatever its
/// clients and providers do.
contract DirectVoucherAgainstBatchesTest is SettlementFixture {
    uint64 private constant EARNED = 95 * CAPA;

    function setUp() public override {
        super.setUp();
        _start();
    }

    /// @dev What an honest party tries; the outcome is for the caller to judge.
    function _try(address caller, bytes memory data) private returns (bool done) {
        vm.prank(caller);
        (done,) = address(settlement).call(data);
    }

    function _redeemAsClient() private returns (bool) {
        bytes memory item = _item(_voucher(0, DEPOSIT, keeper, DEPOSIT));
        return _try(client, abi.encodeCall(settlement.redeem, (keeper, item)));
    }

    function _collectAccepted() private returns (bool) {
        // The voucher that the keeper accepted before: total within the deposit, batch 1, ann earned 95 of 100.
        bytes memory item = _item(_voucher(1, DEPOSIT, ann, EARNED));
        return _try(keeper, abi.encodeCall(settlement.collect, (item)));
    }

    function test_AnAcceptedVoucherCanBeCollected() external {
        _redeemAsClient();
        vm.assertTrue(_collectAccepted(), "what the keeper accepted must stay collectable");
    }

    function test_AnHonestRetiringKeeperKeepsItsBond() external {
        vm.prank(bondOwner);
        settlement.retire(keeper);
        _redeemAsClient();
        bool collected = _collectAccepted();
        // "A mistake is made good by a voucher on a channel of its own": but nobody can open one with a retiring keeper.
        bool opened = _try(keeper, abi.encodeCall(settlement.open, (keeper, keeper, DEPOSIT)));
        if (collected) _commit(_leaves(ann, DEPOSIT - DEPOSIT * FEE_BPS / 10_000));
        else if (!opened) _heartbeat();
        _challenge(ann, EARNED);
        if (collected) {
            vm.prank(keeper);
            settlement.answer(keeper, ann, DEPOSIT - DEPOSIT * FEE_BPS / 10_000, 0, "");
        }
        _skip(R + 1);
        _try(ann, abi.encodeCall(settlement.void, (keeper, ann)));
        vm.assertEq(_keeper().bond, BOND, "the bond of a keeper that broke no promise");
    }

    function test_AnHonestActiveKeeperKeepsItsBondDuringAPause() external {
        vm.prank(guardian);
        settlement.pause();
        _redeemAsClient();
        bool collected = _collectAccepted();
        bool opened = _try(keeper, abi.encodeCall(settlement.open, (keeper, keeper, DEPOSIT)));
        vm.assertTrue(collected || opened, "some way is left to fund what was promised");
    }

    function test_ALapsedKeeperIsNotShortForIt() external {
        _redeemAsClient();
        _collectAccepted();
        bytes memory accepted = _recovery(_voucher(1, DEPOSIT, ann, EARNED), EARNED);
        _lapse();
        vm.prank(stranger);
        settlement.recover(keeper, accepted);
        vm.assertEq(_keeper().bond, BOND - BOND / 10, "a lapse costs a tenth");
    }
}
