// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {KeeperStatus} from "../../../src/types/KeeperState.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract RetireTest is SettlementFixture {
    function _retire(address caller) private {
        vm.prank(caller);
        settlement.retire(keeper);
    }

    function test_RevertWhen_NotTheOwner() external {
        _bond();
        vm.expectRevert(abi.encodeWithSelector(IEscrow.NotBondOwner.selector, keeper, keeper, bondOwner));
        _retire(keeper);
    }

    function test_RevertGiven_NeverBonded() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.NotBondOwner.selector, keeper, stranger, address(0)));
        _retire(stranger);
    }

    function test_RevertGiven_NotActive() external {
        _bond();
        _retire(bondOwner);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.WrongKeeperStatus.selector, keeper, KeeperStatus.Retiring));
        _retire(bondOwner);
    }

    function test_GivenActive() external {
        _start();
        vm.expectEmit(address(settlement));
        emit IEscrow.Retired(keeper, uint32(block.timestamp));
        _retire(bondOwner);
        _assertStatus(KeeperStatus.Retiring);
        vm.assertEq(_keeper().endedAt, block.timestamp, "retired at");
        _commitAnn(CAPA);
        vm.assertEq(settlement.batch(keeper, 1).sum, CAPA - CAPA / 100, "a retiring keeper commits");
    }
}
