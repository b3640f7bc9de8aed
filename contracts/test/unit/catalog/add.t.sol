// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ResourceCatalog} from "../../../src/ResourceCatalog.sol";
import {IResourceCatalog} from "../../../src/interfaces/IResourceCatalog.sol";
import {ResourceClass} from "../../../src/types/ResourceClass.sol";
import {Artifacts} from "../../utils/Artifacts.sol";
import {vm} from "../../utils/Vm.sol";

contract AddTest {
    /// @dev 64 and 32 letters, the first and the last of them being the outermost that are printable.
    string private constant LONGEST_NAME = "!bcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz-0123456789~";
    string private constant LONGEST_UNIT = "!bcdefghijklmnopqrstuvwxyzabcde~";

    address private governor = address(0x60f0);
    ResourceCatalog private catalog;

    function setUp() public {
        catalog = ResourceCatalog(Artifacts.deploy("ResourceCatalog", abi.encode(governor)));
    }

    function _add(string memory name) private returns (uint32) {
        vm.prank(governor);
        return catalog.add(name, "GPU-ms", 3_600_000, 1000);
    }

    function _refusesText(bytes4 selector, string memory text) private {
        vm.expectRevert(abi.encodeWithSelector(selector, text));
        catalog.add(text, "GPU-ms", 1, 1);
        vm.expectRevert(abi.encodeWithSelector(selector, text));
        catalog.add("gpu.h200", text, 1, 1);
    }

    function test_RevertWhen_NotTheOwner() external {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(this)));
        catalog.add("gpu.h200", "GPU-ms", 3_600_000, 1000);
    }

    function test_RevertWhen_ATextIsEmpty() external {
        vm.startPrank(governor);
        vm.expectRevert(abi.encodeWithSelector(IResourceCatalog.EmptyText.selector));
        catalog.add("", "GPU-ms", 1, 1);
        vm.expectRevert(abi.encodeWithSelector(IResourceCatalog.EmptyText.selector));
        catalog.add("gpu.h200", "", 1, 1);
    }

    function test_RevertWhen_ATextIsTooLong() external {
        vm.startPrank(governor);
        string memory name = string.concat(LONGEST_NAME, "x");
        vm.expectRevert(abi.encodeWithSelector(IResourceCatalog.TextTooLong.selector, name, 64));
        catalog.add(name, "GPU-ms", 1, 1);
        string memory unit = string.concat(LONGEST_UNIT, "x");
        vm.expectRevert(abi.encodeWithSelector(IResourceCatalog.TextTooLong.selector, unit, 32));
        catalog.add("gpu.h200", unit, 1, 1);
    }

    function test_RevertWhen_ATextIsUnprintable() external {
        vm.startPrank(governor);
        bytes4 selector = IResourceCatalog.UnprintableText.selector;
        _refusesText(selector, "gpu h200");
        _refusesText(selector, "gpu\n");
        _refusesText(selector, "\x00");
        _refusesText(selector, "gpu\x7f");
        _refusesText(selector, unicode"gpü");
    }

    function test_RevertWhen_ANumberIsZero() external {
        vm.startPrank(governor);
        vm.expectRevert(abi.encodeWithSelector(IResourceCatalog.ZeroNumber.selector));
        catalog.add("gpu.h200", "GPU-ms", 0, 1);
        vm.expectRevert(abi.encodeWithSelector(IResourceCatalog.ZeroNumber.selector));
        catalog.add("gpu.h200", "GPU-ms", 1, 0);
    }

    function test_RevertWhen_ANumberIsTooHigh() external {
        vm.startPrank(governor);
        uint64 high = 1e18 + 1;
        vm.expectRevert(abi.encodeWithSelector(IResourceCatalog.NumberTooHigh.selector, high, 1e18));
        catalog.add("gpu.h200", "GPU-ms", high, 1);
        vm.expectRevert(abi.encodeWithSelector(IResourceCatalog.NumberTooHigh.selector, high, 1e18));
        catalog.add("gpu.h200", "GPU-ms", 1, high);
    }

    function test_RevertWhen_TheNameIsTaken() external {
        _add("gpu.h200");
        _add("memory");
        vm.expectRevert(abi.encodeWithSelector(IResourceCatalog.NameTaken.selector, "memory", 2));
        _add("memory");
    }

    function test_WhenAtTheBounds() external {
        vm.startPrank(governor);
        catalog.add(LONGEST_NAME, LONGEST_UNIT, 1e18, 1e18);
        catalog.add("x", "y", 1, 1);
        ResourceClass memory c = catalog.resourceClass(1);
        vm.assertEq(c.name, LONGEST_NAME, "name");
        vm.assertEq(c.unit, LONGEST_UNIT, "unit");
        vm.assertEq(c.scale, 1e18, "scale");
        vm.assertEq(c.scuWeight, 1e18, "weight");
        vm.assertEq(catalog.resourceClass(2).scale, 1, "smallest");
    }

    function test_WhenNew() external {
        vm.expectEmit(address(catalog));
        emit IResourceCatalog.ResourceAdded(1, "gpu.h200", "GPU-ms", 3_600_000, 1000);
        vm.assertEq(_add("gpu.h200"), 1, "first");
        vm.assertEq(_add("memory"), 2, "second");
        ResourceClass[] memory all = catalog.classes();
        vm.assertEq(all.length, 2, "listed");
        vm.assertEq(catalog.count(), 2, "count");
        vm.assertEq(all[0].name, "gpu.h200", "in order");
        vm.assertEq(all[1].name, "memory", "in order");
    }
}
