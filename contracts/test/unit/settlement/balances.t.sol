// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Balances} from "../../../src/types/Channel.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract BalancesTest is SettlementFixture {
    function _is(uint64 available, uint64 thawing, uint64 atRisk, uint64 settled) private view {
        Balances memory b = settlement.balances(client, session, keeper);
        vm.assertEq(b.available, available, "available");
        vm.assertEq(b.thawing, thawing, "thawing");
        vm.assertEq(b.atRisk, atRisk, "at risk");
        vm.assertEq(b.settled, settled, "settled");
    }

    function test_GivenOpenThenBatchesThenClosing() external {
        _start();
        _is(DEPOSIT, 0, 0, 0);
        _collect(CAPA);
        _is(DEPOSIT - CAPA, 0, CAPA, 0);
        _commit(_leaves(ann, CAPA - CAPA / 100));
        _is(DEPOSIT - CAPA, 0, CAPA, 0);
        _skip(W);
        _is(DEPOSIT - CAPA, 0, 0, CAPA);
        _collect(3 * CAPA);
        _is(DEPOSIT - 3 * CAPA, 0, 2 * CAPA, CAPA);
        vm.prank(client);
        settlement.close(session, keeper);
        _is(0, DEPOSIT - 3 * CAPA, 2 * CAPA, CAPA);
        vm.assertEq(settlement.balances(client, session, keeper).thawAt, block.timestamp + THAW, "thaws at");
    }

    function test_GivenADirectChannel() external {
        _open(DEPOSIT);
        settlement.redeem(keeper, _direct(CAPA));
        _is(DEPOSIT - CAPA, 0, 0, CAPA);
    }
}
