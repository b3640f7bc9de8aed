// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {KeeperStatus} from "../../../src/types/KeeperState.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract UnbondTest is SettlementFixture {
    function setUp() public override {
        super.setUp();
        _start();
    }

    function _retire() private {
        vm.prank(bondOwner);
        settlement.retire(keeper);
    }

    function _unbond() private {
        vm.prank(bondOwner);
        settlement.unbond(keeper);
    }

    function test_RevertWhen_NotTheOwner() external {
        _retire();
        _skip(U);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.NotBondOwner.selector, keeper, keeper, bondOwner));
        vm.prank(keeper);
        settlement.unbond(keeper);
    }

    function test_RevertGiven_Active() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.WrongKeeperStatus.selector, keeper, KeeperStatus.Active));
        _unbond();
    }

    function test_RevertWhen_TooEarly() external {
        _retire();
        _skip(U - 1);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.TooEarly.selector, block.timestamp + 1));
        _unbond();
    }

    function test_RevertGiven_APendingBatch() external {
        _retire();
        _skip(U);
        _heartbeat();
        vm.expectRevert(abi.encodeWithSelector(IEscrow.BatchPending.selector, keeper, 1));
        _unbond();
    }

    function test_RevertGiven_OpenDebits() external {
        _retire();
        _skip(U);
        _collect(CAPA);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.DebitsOpen.selector, keeper, CAPA));
        _unbond();
    }

    function test_GivenEverythingIsFinal() external {
        _commitAnn(CAPA);
        _retire();
        _skip(U);
        vm.expectEmit(address(settlement));
        emit IEscrow.BatchFinalized(keeper, 1);
        vm.expectEmit(address(settlement));
        emit IEscrow.Unbonded(keeper, BOND);
        _unbond();
        _assertStatus(KeeperStatus.Closed);
        vm.assertEq(token.balanceOf(bondOwner), BOND, "paid");
        vm.assertEq(_keeper().bond, 0, "bond");
        vm.expectRevert(abi.encodeWithSelector(IEscrow.WrongKeeperStatus.selector, keeper, KeeperStatus.Closed));
        _unbond();
    }

    function test_RevertGiven_WoundDownTooEarly() external {
        _lapse();
        _skip(X - 1);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.TooEarly.selector, block.timestamp + 1));
        _unbond();
    }

    function test_GivenWoundDown() external {
        _lapse();
        _skip(X);
        _unbond();
        vm.assertEq(token.balanceOf(bondOwner), BOND - BOND / 10, "what the lapse left");
        _unbond();
        vm.assertEq(token.balanceOf(bondOwner), BOND - BOND / 10, "and only once");
        _assertStatus(KeeperStatus.WoundDown);
    }
}
