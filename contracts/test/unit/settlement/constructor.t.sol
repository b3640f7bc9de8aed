// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Settlement} from "../../../src/Settlement.sol";
import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {Periods, Settings} from "../../../src/types/Settings.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract ConstructorTest is SettlementFixture {
    uint32 private constant STEP = F + D;
    uint32 private constant EXIT = 2 * (T + W + R) + 3 * F + D;

    function _deploy(Periods memory p) private returns (Settlement) {
        return new Settlement(address(token), p, _settings());
    }

    function _refuses(Periods memory p, bytes32 period, uint256 given, uint256 required) private {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.PeriodTooShort.selector, period, given, required));
        _deploy(p);
    }

    function test_RevertWhen_APeriodIsTooShort() external {
        Periods memory p = _periods();
        p.reaction = 0;
        _refuses(p, "D", 0, 1);
        p = _periods();
        p.challenge = STEP - 1;
        _refuses(p, "W", STEP - 1, STEP);
        p = _periods();
        p.answer = STEP - 1;
        _refuses(p, "R", STEP - 1, STEP);
        p = _periods();
        p.heartbeat = STEP - 1;
        _refuses(p, "T", STEP - 1, STEP);
        p = _periods();
        p.thaw = EXIT - 1;
        _refuses(p, "THAW", EXIT - 1, EXIT);
        p = _periods();
        p.retirement = EXIT - 1;
        _refuses(p, "U", EXIT - 1, EXIT);
        p = _periods();
        p.recovery = STEP - 1;
        _refuses(p, "X", STEP - 1, STEP);
    }

    function test_ShortestPeriods() external {
        Periods memory p = _periods();
        p.thaw = EXIT;
        p.retirement = EXIT;
        p.recovery = STEP;
        vm.assertEq(_deploy(p).periods().thaw, EXIT, "the least value is enough");
    }

    function test_ProtocolPeriods() external {
        uint32 day = 24 hours;
        Periods memory p = Periods(day, day, day, 8 days, 8 days, 7 days, day / 2, day / 2);
        vm.assertEq(_deploy(p).periods().recovery, 7 days, "the protocol's own times are in order");
    }

    function test_RevertWhen_AnAddressIsZero() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.NotAToken.selector, address(0)));
        new Settlement(address(0), _periods(), _settings());
        vm.expectRevert(abi.encodeWithSelector(IEscrow.NotAToken.selector, stranger));
        new Settlement(stranger, _periods(), _settings());

        Settings memory s = _settings();
        s.treasury = address(0);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.ZeroAddress.selector));
        new Settlement(address(token), _periods(), s);

        s = _settings();
        s.owner = address(0);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableInvalidOwner.selector, address(0)));
        new Settlement(address(token), _periods(), s);
    }

    function test_RevertWhen_TheFeeIsTooHigh() external {
        Settings memory s = _settings();
        s.feeBps = 501;
        vm.expectRevert(abi.encodeWithSelector(IEscrow.FeeTooHigh.selector, 501, 500));
        new Settlement(address(token), _periods(), s);
    }

    function test_RevertWhen_TheMinimumBondIsZero() external {
        Settings memory s = _settings();
        s.minimumBond = 0;
        vm.expectRevert(abi.encodeWithSelector(IEscrow.ZeroAmount.selector));
        new Settlement(address(token), _periods(), s);
    }

    function test_RevertWhen_APeriodIsTooLong() external {
        Periods memory p = _periods();
        p.thaw = 365 days + 1;
        vm.expectRevert(abi.encodeWithSelector(IEscrow.PeriodTooLong.selector, bytes32("THAW"), 365 days + 1, 365 days));
        _deploy(p);
    }

    function test_RevertWhen_TheMinimumBondIsTooHigh() external {
        Settings memory s = _settings();
        s.minimumBond = 1e15 + 1;
        vm.expectRevert(abi.encodeWithSelector(IEscrow.MinimumBondTooHigh.selector, 1e15 + 1, 1e15));
        new Settlement(address(token), _periods(), s);
    }

    function test_KeepsEveryParameter() external view {
        Periods memory p = settlement.periods();
        vm.assertEq(p.challenge, W, "W");
        vm.assertEq(p.answer, R, "R");
        vm.assertEq(p.heartbeat, T, "T");
        vm.assertEq(p.thaw, THAW, "THAW");
        vm.assertEq(p.retirement, U, "U");
        vm.assertEq(p.recovery, X, "X");
        vm.assertEq(p.inclusion, F, "F");
        vm.assertEq(p.reaction, D, "D");
        vm.assertEq(settlement.token(), address(token), "token");
        vm.assertEq(settlement.owner(), governor, "owner");
        vm.assertEq(settlement.guardian(), guardian, "guardian");
        vm.assertEq(settlement.treasury(), treasury, "treasury");
        vm.assertEq(settlement.minimumBond(), BOND, "minimum bond");
        vm.assertEq(settlement.feeBps(), FEE_BPS, "fee rate");
    }
}
