// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {Signing} from "../../utils/Signing.sol";
import {vm} from "../../utils/Vm.sol";

contract OpenWithPermitTest is SettlementFixture {
    bytes32 private constant PERMIT =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    uint8 private v;
    bytes32 private r;
    bytes32 private s;

    function setUp() public override {
        super.setUp();
        vm.prank(client);
        token.approve(address(settlement), 0);
        (v, r, s) = _permit(CLIENT_KEY, DEPOSIT);
    }

    function _permit(uint256 key, uint64 amount) private view returns (uint8, bytes32, bytes32) {
        bytes32 hash =
            keccak256(abi.encode(PERMIT, client, address(settlement), amount, token.nonces(client), block.timestamp));
        return vm.sign(key, Signing.digest(token.DOMAIN_SEPARATOR(), hash));
    }

    function _openWithPermit() private {
        vm.prank(client);
        settlement.openWithPermit(session, keeper, DEPOSIT, block.timestamp, v, r, s);
    }

    function test_RevertWhen_Paused() external {
        vm.prank(guardian);
        settlement.pause();
        vm.expectRevert(abi.encodeWithSelector(Pausable.EnforcedPause.selector));
        _openWithPermit();
    }

    function test_WhenThePermitIsValid() external {
        _openWithPermit();
        vm.assertEq(_channel().deposit, DEPOSIT, "deposit");
        vm.assertEq(token.allowance(client, address(settlement)), 0, "allowance used up");
    }

    function test_WhenSomebodyUsedThePermitBefore() external {
        vm.prank(stranger);
        token.permit(client, address(settlement), DEPOSIT, block.timestamp, v, r, s);
        _openWithPermit();
        vm.assertEq(_channel().deposit, DEPOSIT, "deposit");
    }

    function test_RevertWhen_ThePermitIsInvalid() external {
        (v, r, s) = _permit(SESSION_KEY, DEPOSIT);
        vm.expectRevert(abi.encodeWithSelector(SafeTransferLib.TransferFromFailed.selector));
        _openWithPermit();
    }
}
