// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ResourceCatalog} from "../../../src/ResourceCatalog.sol";
import {vm} from "../../utils/Vm.sol";

contract CatalogConstructorTest {
    function test_RevertWhen_TheOwnerIsZero() external {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableInvalidOwner.selector, address(0)));
        new ResourceCatalog(address(0));
    }

    function test_WhenTheOwnerIsAnAddress() external {
        ResourceCatalog catalog = new ResourceCatalog(address(0x60f0));
        vm.assertEq(catalog.owner(), address(0x60f0), "owner");
        vm.assertEq(catalog.count(), 0, "empty");
        vm.assertEq(catalog.classes().length, 0, "nothing listed");
    }
}
