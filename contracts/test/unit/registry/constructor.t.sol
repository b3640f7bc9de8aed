// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ProviderRegistry} from "../../../src/ProviderRegistry.sol";
import {IProviderStake} from "../../../src/interfaces/IProviderStake.sol";
import {RegistrySettings} from "../../../src/types/Stake.sol";
import {RegistryFixture} from "../../utils/RegistryFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract RegistryConstructorTest is RegistryFixture {
    function _refuses(RegistrySettings memory s, bytes32 setting, uint256 given, uint256 least, uint256 most) private {
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.SettingOutOfBounds.selector, setting, given, least, most));
        new ProviderRegistry(address(token), governor, s);
    }

    function test_RevertWhen_TheTokenIsNoContract() external {
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.NotAToken.selector, stranger));
        new ProviderRegistry(stranger, governor, _settings());
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.NotAToken.selector, address(0)));
        new ProviderRegistry(address(0), governor, _settings());
    }

    function test_RevertWhen_TheOwnerIsZero() external {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableInvalidOwner.selector, address(0)));
        new ProviderRegistry(address(token), address(0), _settings());
    }

    function test_RevertWhen_TheSlashEpochIsOutOfBounds() external {
        RegistrySettings memory s = _settings();
        s.slashEpoch = 0;
        _refuses(s, "slashEpoch", 0, 1, 45 days);
        s.slashEpoch = 45 days + 1;
        _refuses(s, "slashEpoch", 45 days + 1, 1, 45 days);
    }

    function test_RevertWhen_TheUnstakeDelayIsOutOfBounds() external {
        RegistrySettings memory s = _settings();
        s.unstakeDelay = 2 * EPOCH - 1;
        _refuses(s, "unstakeDelay", 2 * EPOCH - 1, 2 * EPOCH, 90 days);
        s.unstakeDelay = 90 days + 1;
        _refuses(s, "unstakeDelay", 90 days + 1, 2 * EPOCH, 90 days);
    }

    function test_RevertWhen_TheSlashCapIsOutOfBounds() external {
        RegistrySettings memory s = _settings();
        s.slashCapBps = 0;
        _refuses(s, "slashCapBps", 0, 1, 5000);
        s.slashCapBps = 5001;
        _refuses(s, "slashCapBps", 5001, 1, 5000);
    }

    function test_RevertWhen_TheMinimumStakeIsOutOfBounds() external {
        RegistrySettings memory s = _settings();
        s.minimumStake = 9999;
        _refuses(s, "minimumStake", 9999, 10_000, 1e15);
        s.minimumStake = 1e15 + 1;
        _refuses(s, "minimumStake", 1e15 + 1, 10_000, 1e15);
    }

    function test_WhenAtTheBounds() external {
        ProviderRegistry low = _deploy(address(token), RegistrySettings(address(0), 10_000, 2, 1, 1));
        vm.assertEq(low.settings().unstakeDelay, 2, "lowest");
        vm.assertEq(low.slasher(), address(0), "no slasher");
        ProviderRegistry high = _deploy(address(token), RegistrySettings(slasher, 1e15, 90 days, 45 days, 5000));
        vm.assertEq(high.settings().unstakeDelay, 90 days, "highest");
    }

    function test_KeepsEverySetting() external view {
        RegistrySettings memory s = registry.settings();
        vm.assertEq(s.slasher, slasher, "slasher");
        vm.assertEq(s.minimumStake, MINIMUM, "minimum stake");
        vm.assertEq(s.unstakeDelay, DELAY, "unstake delay");
        vm.assertEq(s.slashEpoch, EPOCH, "slash epoch");
        vm.assertEq(s.slashCapBps, CAP_BPS, "slash cap");
        vm.assertEq(registry.token(), address(token), "token");
        vm.assertEq(registry.owner(), governor, "owner");
        vm.assertEq(registry.slasher(), slasher, "in office at once");
    }

    function test_TheSlasherMayActAtOnce() external view {
        (address appointed, uint32 from) = registry.appointment();
        vm.assertEq(appointed, slasher, "appointed");
        vm.assertEq(from, block.timestamp, "from now on");
    }
}
