// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Leaf} from "../utils/ReferenceTree.sol";
import {SettlementFixture} from "../utils/SettlementFixture.sol";
import {vm} from "../utils/Vm.sol";

/// @notice Once an open challenge is past its deadline an answer comes too late. With R below W, a keeper that missed the
/// deadline signs a higher acceptance, challenges itself with it, and has another R to answer.
contract RevivedChallengeTest is SettlementFixture {
    function test_AMissedDeadlineStaysMissed() external {
        _start();
        Leaf[] memory leaves = _commitAnn(50 * CAPA);
        _challenge(ann, 40 * CAPA);
        _skip(R + 1);
        // The keeper sees a `void` coming and is faster.
        bytes memory higher = _acceptance(ann, _number(), 41 * CAPA);
        vm.prank(keeper);
        (bool revived,) = address(settlement).call(abi.encodeCall(settlement.challenge, (keeper, higher)));
        vm.prank(keeper);
        (bool answered,) =
            address(settlement).call(abi.encodeCall(settlement.answer, (keeper, ann, leaves[0].amount, 0, "")));
        vm.assertFalse(revived && answered, "answered after the deadline");
    }
}
