// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Deploy} from "../../script/Deploy.s.sol";
import {ResourceClass} from "../../src/types/ResourceClass.sol";
import {Periods} from "../../src/types/Settings.sol";
import {vm} from "../utils/Vm.sol";

contract DeployTest {
    string private constant CONFIG = "contracts/script/config/local.json";

    function test_Run() external {
        string memory json = vm.readFile(CONFIG);
        address governor = vm.parseJsonAddress(json, ".governor");
        Deploy.Deployment memory d = new Deploy().run();

        vm.assertEq(d.settlement.token(), address(d.token), "token");
        vm.assertEq(d.settlement.owner(), governor, "settlement's owner");
        vm.assertEq(d.settlement.guardian(), vm.parseJsonAddress(json, ".guardian"), "guardian");
        vm.assertEq(d.settlement.treasury(), vm.parseJsonAddress(json, ".treasury"), "treasury");
        vm.assertEq(d.settlement.minimumBond(), vm.parseJsonUint(json, ".minimumBond"), "minimum bond");
        vm.assertEq(d.settlement.feeBps(), vm.parseJsonUint(json, ".feeBps"), "fee rate");
        Periods memory p = d.settlement.periods();
        vm.assertEq(p.challenge, vm.parseJsonUint(json, ".periods.challenge"), "W");
        vm.assertEq(p.reaction, vm.parseJsonUint(json, ".periods.reaction"), "D");
        vm.assertEq(d.token.minter(), vm.parseJsonAddress(json, ".minter"), "minter");
        address holder = vm.parseJsonAddress(json, ".grants[1].to");
        vm.assertEq(d.token.balanceOf(holder), vm.parseJsonUint(json, ".grants[1].amount"), "second grant");
        vm.assertEq(d.registry.providerOf(holder), address(0), "registry");

        ResourceClass[] memory classes = d.catalog.classes();
        vm.assertEq(classes.length, 5, "classes");
        vm.assertEq(classes[0].name, "gpu.h200", "first class");
        vm.assertEq(classes[4].scale, 1_073_741_824, "egress is priced by the GiB");
        vm.assertEq(d.catalog.pendingOwner(), governor, "the catalog is handed over");
        vm.prank(governor);
        d.catalog.acceptOwnership();
        vm.assertEq(d.catalog.owner(), governor, "accepted");
    }

    function test_RevertWhen_ANumberIsTooLarge() external {
        string memory json = "{\"minter\":\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\",\"grants\":"
            "[{\"to\":\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\",\"amount\":\"18446744073709551616\"}]}";
        Deploy script = new Deploy();
        vm.expectRevert(
            abi.encodeWithSelector(
                Deploy.NumberTooLarge.selector, ".grants[0].amount", uint256(1) << 64, type(uint64).max
            )
        );
        script.deploy(json);
    }
}
