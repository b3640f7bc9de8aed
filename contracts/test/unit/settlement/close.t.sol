// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract CloseTest is SettlementFixture {
    function _close() private {
        vm.prank(client);
        settlement.close(session, keeper);
    }

    function test_RevertGiven_Empty() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.ChannelEmpty.selector, channelId));
        _close();
    }

    function test_RevertGiven_Closing() external {
        _start();
        _close();
        vm.expectRevert(
            abi.encodeWithSelector(IEscrow.AlreadyClosing.selector, channelId, uint32(block.timestamp + THAW))
        );
        _close();
    }

    function test_RevertWhen_TheCallerIsNotThePayer() external {
        _start();
        bytes32 own = settlement.channelId(stranger, session, keeper);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.ChannelEmpty.selector, own));
        vm.prank(stranger);
        settlement.close(session, keeper);
    }

    function test_GivenOpen() external {
        _start();
        uint32 thawAt = uint32(block.timestamp + THAW);
        vm.expectEmit(address(settlement));
        emit IEscrow.ChannelClosing(channelId, thawAt);
        _close();
        vm.assertEq(_channel().thawAt, thawAt, "thaws after THAW");
        vm.assertEq(_channel().deposit, DEPOSIT, "deposit stays");
        _collect(CAPA);
        vm.assertEq(_channel().spent, CAPA, "debits go on");
        vm.assertEq(_channel().thawAt, thawAt, "a debit does not end the close");
    }
}
