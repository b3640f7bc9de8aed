// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ResourceCatalog} from "../../../src/ResourceCatalog.sol";
import {Artifacts} from "../../utils/Artifacts.sol";
import {vm} from "../../utils/Vm.sol";

contract CatalogOwnershipTest {
    address private governor = address(0x60f0);
    address private next = address(0x60f1);
    ResourceCatalog private catalog;

    function setUp() public {
        catalog = ResourceCatalog(Artifacts.deploy("ResourceCatalog", abi.encode(governor)));
        vm.prank(governor);
        catalog.add("memory", "MiB-s", 3_686_400, 130);
    }

    function _refuses(address caller) private {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, caller));
        vm.prank(caller);
    }

    function test_RevertWhen_NotTheOwner() external {
        _refuses(next);
        catalog.transferOwnership(next);
        _refuses(next);
        catalog.renounceOwnership();
    }

    function test_InTwoSteps() external {
        vm.prank(governor);
        catalog.transferOwnership(next);
        vm.assertEq(catalog.owner(), governor, "not before it is accepted");
        _refuses(address(this));
        catalog.acceptOwnership();
        vm.prank(next);
        catalog.acceptOwnership();
        vm.assertEq(catalog.owner(), next, "accepted");
        _refuses(governor);
        catalog.add("storage", "MiB-s", 3_686_400, 1);
        vm.prank(next);
        vm.assertEq(catalog.add("storage", "MiB-s", 3_686_400, 1), 2, "added");
    }

    function test_WhenGivenUp() external {
        vm.prank(governor);
        catalog.renounceOwnership();
        vm.assertEq(catalog.resourceClass(1).name, "memory", "kept");
        _refuses(governor);
        catalog.add("storage", "MiB-s", 3_686_400, 1);
    }
}
