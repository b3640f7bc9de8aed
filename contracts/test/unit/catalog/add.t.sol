// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ResourceCatalog} from "../../../src/ResourceCatalog.sol";
import {IResourceCatalog} from "../../../src/interfaces/IResourceCatalog.sol";
import {ResourceClass} from "../../../src/types/ResourceClass.sol";
import {vm} from "../../utils/Vm.sol";

contract AddTest {
    address private governor = address(0x60f0);
    ResourceCatalog private catalog;

    function setUp() public {
        catalog = new ResourceCatalog(governor);
    }

    function _add(string memory name) private returns (uint32) {
        vm.prank(governor);
        return catalog.add(name, "GPU-ms", 3_600_000, 1000);
    }

    function test_RevertWhen_NotTheOwner() external {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(this)));
        catalog.add("gpu.h200", "GPU-ms", 3_600_000, 1000);
    }

    function test_RevertWhen_SomethingIsMissing() external {
        vm.startPrank(governor);
        vm.expectRevert(abi.encodeWithSelector(IResourceCatalog.EmptyText.selector));
        catalog.add("", "GPU-ms", 1, 1);
        vm.expectRevert(abi.encodeWithSelector(IResourceCatalog.EmptyText.selector));
        catalog.add("gpu.h200", "", 1, 1);
        vm.expectRevert(abi.encodeWithSelector(IResourceCatalog.ZeroNumber.selector));
        catalog.add("gpu.h200", "GPU-ms", 0, 1);
        vm.expectRevert(abi.encodeWithSelector(IResourceCatalog.ZeroNumber.selector));
        catalog.add("gpu.h200", "GPU-ms", 1, 0);
    }

    function test_RevertWhen_TheNameIsTaken() external {
        _add("gpu.h200");
        _add("memory");
        vm.expectRevert(abi.encodeWithSelector(IResourceCatalog.NameTaken.selector, "memory", 2));
        _add("memory");
    }

    function test_WhenNew() external {
        vm.expectEmit(address(catalog));
        emit IResourceCatalog.ResourceAdded(1, "gpu.h200", "GPU-ms", 3_600_000, 1000);
        vm.assertEq(_add("gpu.h200"), 1, "first");
        vm.assertEq(_add("memory"), 2, "second");
        ResourceClass[] memory all = catalog.classes();
        vm.assertEq(all.length, 2, "listed");
        vm.assertEq(catalog.count(), 2, "count");
        vm.assertEq(all[1].name, "memory", "in order");
        ResourceClass memory c = catalog.resourceClass(1);
        vm.assertEq(c.id, 1, "id");
        vm.assertEq(c.name, "gpu.h200", "name");
        vm.assertEq(c.unit, "GPU-ms", "unit");
        vm.assertEq(c.scale, 3_600_000, "scale");
        vm.assertEq(c.scuWeight, 1000, "weight");
    }

    function test_RevertWhen_Unknown() external {
        _add("gpu.h200");
        vm.expectRevert(abi.encodeWithSelector(IResourceCatalog.UnknownResource.selector, 0));
        catalog.resourceClass(0);
        vm.expectRevert(abi.encodeWithSelector(IResourceCatalog.UnknownResource.selector, 2));
        catalog.resourceClass(2);
    }
}
