// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ResourceCatalog} from "../../../src/ResourceCatalog.sol";
import {IResourceCatalog} from "../../../src/interfaces/IResourceCatalog.sol";
import {ResourceClass} from "../../../src/types/ResourceClass.sol";
import {Artifacts} from "../../utils/Artifacts.sol";
import {vm} from "../../utils/Vm.sol";

contract ResourceClassTest {
    ResourceCatalog private catalog;

    function setUp() public {
        catalog = ResourceCatalog(Artifacts.deploy("ResourceCatalog", abi.encode(address(this))));
        catalog.add("gpu.h200", "GPU-ms", 3_600_000, 1000);
    }

    function test_RevertWhen_Unknown() external {
        vm.expectRevert(abi.encodeWithSelector(IResourceCatalog.UnknownResource.selector, 0));
        catalog.resourceClass(0);
        vm.expectRevert(abi.encodeWithSelector(IResourceCatalog.UnknownResource.selector, 2));
        catalog.resourceClass(2);
    }

    function test_WhenKnown() external view {
        ResourceClass memory c = catalog.resourceClass(1);
        vm.assertEq(c.id, 1, "id");
        vm.assertEq(c.name, "gpu.h200", "name");
        vm.assertEq(c.unit, "GPU-ms", "unit");
        vm.assertEq(c.scale, 3_600_000, "scale");
        vm.assertEq(c.scuWeight, 1000, "weight");
    }

    /// @dev Any further classes: numbers count up, and what stood before stays, in both views.
    function testFuzz_AppendOnly(uint64[6] calldata numbers) external {
        bytes[] memory before = new bytes[](numbers.length + 1);
        before[0] = abi.encode(catalog.resourceClass(1));
        for (uint256 i; i < numbers.length; ++i) {
            uint64 number = 1 + numbers[i] % 1e18;
            uint32 id = catalog.add(string.concat("class-", vm.toString(i)), "unit", number, 1 + number / 2);
            vm.assertEq(id, i + 2, "next number");
            before[i + 1] = abi.encode(catalog.resourceClass(id));
        }
        ResourceClass[] memory all = catalog.classes();
        vm.assertEq(all.length, numbers.length + 1, "listed");
        for (uint32 i; i < all.length; ++i) {
            vm.assertEq(keccak256(abi.encode(all[i])), keccak256(before[i]), "listed as added");
            vm.assertEq(keccak256(abi.encode(catalog.resourceClass(i + 1))), keccak256(before[i]), "as added");
        }
    }
}
