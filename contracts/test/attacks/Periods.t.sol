// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Settlement} from "../../src/Settlement.sol";
import {KeeperStatus} from "../../src/types/KeeperState.sol";
import {Voucher} from "../../src/types/Messages.sol";
import {Periods} from "../../src/types/Settings.sol";
import {Artifacts} from "../utils/Artifacts.sol";
import {vm} from "../utils/Vm.sol";
import {AttackFixture} from "./AttackFixture.sol";

/// @notice With the shortest periods that the constructor accepts, a party that acts within D, and whose transaction the
/// sequencer includes before F is over, is always in time. The delays are used to the last second: at F itself a deadline
/// of F + D has come.
contract PeriodAttacks is AttackFixture {
    uint32 private constant STEP = F + D;

    function setUp() public override {
        super.setUp();
        settlement = _shortest();
        domain = settlement.domainSeparator();
        channelId = settlement.channelId(client, session, keeper);
        address[3] memory parties = [client, keeper, mallory];
        for (uint256 i; i < 3; ++i) {
            vm.prank(parties[i]);
            token.approve(address(settlement), type(uint256).max);
        }
        _start();
        _openMallory(keeper, 100 * CAPA);
    }

    /// @dev Takes seconds off one period after the other for as long as the constructor accepts it: first W, R, T and X, then
    /// THAW and U, which depend on them.
    function _shortest() private returns (Settlement settlement_) {
        uint32[6] memory p = [2 * STEP, 2 * STEP, 2 * STEP, 2 * STEP, 20 * STEP, 20 * STEP];
        for (uint256 i; i < 6; ++i) {
            bool accepted = true;
            while (accepted) {
                p[i] -= 1;
                try this.deploy(Periods(p[0], p[1], p[2], p[4], p[5], p[3], F, D)) returns (Settlement s) {
                    settlement_ = s;
                } catch {
                    accepted = false;
                }
            }
            p[i] += 1;
        }
    }

    function deploy(Periods memory p) external returns (Settlement) {
        return Settlement(Artifacts.deploy("Settlement", abi.encode(address(token), p, _settings())));
    }

    /// @dev The keeper commits without ann. She notices after D; her challenge is included after F.
    function test_AChallengeDecidedWithinDIsInTime() external {
        _collect(40 * CAPA);
        _commitGarbage();
        _skip(D + F - 1);
        _challenge(ann, 30 * CAPA);
        vm.assertEq(_keeper().open, 1, "the challenge stands");
    }

    /// @dev The keeper notices after D; its answer is included after F.
    function test_AnAnswerDecidedWithinDIsInTime() external {
        _commitAnn(40 * CAPA);
        _challenge(ann, 30 * CAPA);
        _skip(D + F - 1);
        settlement.answer(keeper, ann, 39_600_000_000, 0, "");
        _assertStatus(KeeperStatus.Active);
    }

    /// @dev Ann notices the wind-down after D; her recovery is included after F.
    function test_ARecoveryDecidedWithinDIsInTime() external {
        uint256 heartbeat = settlement.periods().heartbeat;
        _skip(heartbeat + 1);
        settlement.lapse(keeper);
        _skip(D + F - 1);
        _recover(_recovery(_voucher(1, 40 * CAPA, ann, 30 * CAPA), 30 * CAPA));
        vm.assertEq(token.balanceOf(ann), 30 * CAPA, "recovered");
    }

    /// @dev Mallory closes. Ann, on a view of the chain that is D old, still counts an acceptance for the batch after the open
    /// one. Keeper and mallory use every deadline; the sequencer delays ann's `lapse`, `lapse` and `void` by almost F each.
    function test_AnAcceptanceIsSettledBeforeTheChannelThaws() external {
        // A heartbeat such that the open batch is as fresh as can be when ann counts the acceptance.
        _heartbeat();
        _skip(settlement.periods().challenge - D);
        vm.prank(mallory);
        settlement.close(mallorySession, keeper);
        _skip(D);
        uint256 opened = block.timestamp;
        vm.assertEq(_number(), 2, "the open batch");
        Voucher memory v = _malloryVoucher(3, 40 * CAPA, ann, 30 * CAPA);
        opened = _delayedBatch(opened, true);
        _delayedBatch(opened, false);

        // Mallory's withdrawal lands first wherever both land in one second.
        if (block.timestamp >= _channelOf(mallory, mallorySession, keeper).thawAt) {
            vm.prank(mallory);
            settlement.withdraw(mallorySession, keeper);
        }
        settlement.void(keeper, bob);
        _recover(_malloryRecovery(v, 30 * CAPA));
        vm.assertEq(token.balanceOf(ann), 30 * CAPA, "ann is paid what was accepted");
    }

    /// @dev A batch whose commit lands just before `lapse`, and whose challenge comes in the last second: answered in the last
    /// second, or left for `void`, which lands almost F after it became possible. Returns when the next batch opens.
    function _delayedBatch(uint256 opened, bool answered) private returns (uint256) {
        Periods memory p = settlement.periods();
        vm.warp(opened + p.heartbeat + F);
        if (answered) _commitAnn(40 * CAPA);
        else _commitGarbage();
        _skip(p.challenge - 1);
        _challenge(answered ? ann : bob, 30 * CAPA);
        _skip(p.answer);
        if (answered) settlement.answer(keeper, ann, 39_600_000_000, 0, "");
        else _skip(F);
        return block.timestamp;
    }
}
