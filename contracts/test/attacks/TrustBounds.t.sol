// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Voucher} from "../../src/types/Messages.sol";
import {Leaf} from "../utils/ReferenceTree.sol";
import {vm} from "../utils/Vm.sol";
import {AttackFixture} from "./AttackFixture.sol";

/// @notice What is left to trust, and its bound: attacks that do succeed, and exactly how far.
contract TrustBounds is AttackFixture {
    function setUp() public override {
        super.setUp();
        _start();
    }

    /// @dev Accepted: 30 for ann at a total of 40. Signed and not accepted: one more voucher, 5 for ann at a total of 46.
    function test_AKeeperAloneCollectsOneUnacceptedVoucherAndNoMore() external {
        _collectItems(_item(_voucher(1, 46 * CAPA, ann, 35 * CAPA)));
        Leaf[] memory leaves = _leaves(ann, 30 * CAPA, keeper, 15_540_000_000);
        _commit(leaves);
        _skip(W);
        _claim(1, leaves, 0);
        vm.assertEq(token.balanceOf(ann), 30 * CAPA, "ann has everything that was accepted");
        // Of the 46 the fee takes 0.46. The keeper's honest share at 40 was 9.6; the voucher of 6 is all it gained.
        vm.assertEq(leaves[1].amount - 9_600_000_000, 5_940_000_000, "6 less the fee on them");
    }

    /// @dev Refused for batch 1 at a total of 46, signed again for batch 2 at the same total, then one more: 7 at 54.
    /// The keeper collects the refused voucher in batch 1 all the same, and vanishes.
    function test_ARefusedVoucherCostsAProviderAtMostItself() external {
        Voucher memory refused = _voucher(1, 46 * CAPA, ann, 35 * CAPA);
        Voucher memory last = _voucher(2, 54 * CAPA, ann, 12 * CAPA);
        _collectItems(_item(refused));
        Leaf[] memory leaves = _leaves(ann, 30 * CAPA, keeper, 15_540_000_000);
        _commit(leaves);
        _skip(W);
        _claim(1, leaves, 0);
        _lapse();
        _recover(_recovery(last, 12 * CAPA));
        uint256 bondShare = BOND * 9 / 100;
        vm.assertEq(token.balanceOf(ann) - bondShare, 38 * CAPA, "42 were accepted; the channel had 8 for batch 2");
        vm.assertLe(42 * CAPA - 38 * CAPA, 5 * CAPA, "less than the refused voucher is missing");
        vm.assertEq(_keeper().bond, 0, "and the keeper's bond is gone");
    }

    /// @dev Client and keeper together promise the same 100 to ann in one batch and to bob in the next.
    function test_AClientWithAKeeperSpendsOneChannelTwiceAndLosesTheBond() external {
        _openMallory(keeper, 100 * CAPA);
        Voucher memory toAnn = _malloryVoucher(1, 100 * CAPA, ann, 100 * CAPA);
        Voucher memory toBob = _malloryVoucher(2, 100 * CAPA, bob, 100 * CAPA);
        _lapse();
        uint64 bonded = _keeper().bond;
        _recover(_malloryRecovery(toAnn, 100 * CAPA));
        _recover(_malloryRecovery(toBob, 100 * CAPA));
        vm.assertEq(token.balanceOf(ann), 100 * CAPA, "the first has all of it");
        vm.assertEq(token.balanceOf(bob), bonded / 10, "the second a tenth of the bond");
        vm.assertEq(_keeper().bond, 0, "the rest of the bond is burned");
        vm.assertEq(_channel().spent, 0, "no other client's channel is touched");
    }

    /// @dev An accomplice voids the keeper with a promise that was never worth anything.
    function test_AKeeperThatForfeitsToItselfLosesNineTenths() external {
        uint256 supply = token.totalSupply();
        _heartbeat();
        _void(mallory, 1);
        vm.assertEq(token.balanceOf(mallory), 10_000 * CAPA + BOND / 10, "the accomplice gets a tenth");
        vm.assertEq(supply - token.totalSupply(), BOND * 9 / 10, "nine tenths are burned");
        _skip(X);
        vm.prank(bondOwner);
        settlement.unbond(keeper);
        vm.assertEq(token.balanceOf(bondOwner), 0, "and none comes back");
    }

    /// @dev Lapse first, then a short recovery: the coalition cannot get more by taking the bond in two steps.
    function test_AForfeitInTwoStepsPaysTheCoalitionNoMore() external {
        uint256 supply = token.totalSupply();
        _openMallory(keeper, 1);
        _lapse();
        _recover(_malloryRecovery(_malloryVoucher(1, 2, mallory, 2), 2));
        uint256 got = token.balanceOf(mallory) - 10_000 * CAPA;
        vm.assertEq(got, BOND * 9 / 100, "a tenth of what the lapse left, and the 1 nano put in");
        vm.assertEq(supply - token.totalSupply(), BOND / 10 + BOND * 81 / 100, "the rest is burned");
    }

    /// @dev One list recovers every channel of a provider: five channels of one payer here.
    function test_AWindDownCostsOneRecoveryPerChannel() external {
        bytes memory items;
        for (uint256 i; i < 5; ++i) {
            uint256 key = SESSION_KEY + 1 + i;
            vm.prank(client);
            settlement.open(vm.addr(key), keeper, 10 * CAPA);
            items = bytes.concat(items, _recoveryBy(key, _voucher(1, 10 * CAPA, ann, 9 * CAPA), 9 * CAPA));
        }
        _lapse();
        _recover(items);
        vm.assertEq(items.length, 5 * 228, "228 bytes a channel");
        vm.assertEq(token.balanceOf(ann), 45 * CAPA, "9 from each");
    }
}
