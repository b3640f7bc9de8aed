// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {ClaimItem, ClaimItems} from "../../utils/ClaimItems.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract PauseTest is SettlementFixture {
    function test_RevertWhen_AStrangerPauses() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.NotGuardian.selector, stranger));
        vm.prank(stranger);
        settlement.pause();
    }

    /// @dev What a pause stops stands in the tests of open, openWithPermit and bond.
    function test_StopsNothingElse() external {
        _start();
        vm.prank(guardian);
        settlement.pause();
        _commitAnn(CAPA);
        _challenge(ann, 1);
        settlement.answer(keeper, ann, CAPA - CAPA / 100, 0, "");
        _skip(W);
        ClaimItem[] memory items = new ClaimItem[](1);
        items[0] = ClaimItem({batch: 1, amount: CAPA - CAPA / 100, index: 0, proof: ""});
        settlement.claim(keeper, ann, ClaimItems.pack(items));
        bytes memory direct = _direct(2 * CAPA);
        vm.prank(keeper);
        settlement.redeem(keeper, direct);
        vm.prank(client);
        settlement.close(session, keeper);
        _lapse();
        settlement.recover(keeper, _recovery(_voucher(2, 3 * CAPA, bob, CAPA), CAPA));
        settlement.sweepFees();
        _skip(X);
        vm.prank(client);
        settlement.withdraw(session, keeper);
        vm.prank(bondOwner);
        settlement.unbond(keeper);
        vm.assertEq(token.balanceOf(address(settlement)), 0, "everything left");
    }

    function test_Unpause() external {
        vm.prank(governor);
        settlement.pause();
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, guardian));
        vm.prank(guardian);
        settlement.unpause();
        vm.prank(governor);
        settlement.unpause();
        _open(DEPOSIT);
        vm.assertEq(_channel().deposit, DEPOSIT, "open works again");
    }
}
