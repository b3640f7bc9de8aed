// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Deploy} from "../../script/Deploy.s.sol";
import {DeterministicDeployer} from "../../script/utils/DeterministicDeployer.sol";
import {Emission} from "../../src/types/Emission.sol";
import {Grant} from "../../src/types/Grant.sol";
import {ResourceClass} from "../../src/types/ResourceClass.sol";
import {Periods} from "../../src/types/Settings.sol";
import {DeployFixture} from "../utils/DeployFixture.sol";
import {vm} from "../utils/Vm.sol";

contract DeployTest is DeployFixture {
    address private constant PERMIT2 = 0x000000000022D473030F116dDEE9F6B43aC78BA3;

    function test_Fresh() external {
        string memory json = _local();
        address owner = vm.parseJsonAddress(json, ".owner");
        uint64 before = _created();
        Deploy.Deployment memory d = script.run();
        vm.assertEq(_created() - before, 5, "Permit2 and the four contracts");
        vm.assertTrue(PERMIT2.code.length != 0, "Permit2");

        vm.assertEq(d.settlement.token(), address(d.token), "token");
        vm.assertEq(d.settlement.owner(), owner, "settlement's owner");
        vm.assertEq(d.settlement.guardian(), vm.parseJsonAddress(json, ".settlement.guardian"), "guardian");
        vm.assertEq(d.settlement.treasury(), vm.parseJsonAddress(json, ".settlement.treasury"), "treasury");
        vm.assertEq(d.settlement.minimumBond(), 1_000_000_000_000, "minimum bond");
        vm.assertEq(d.settlement.feeBps(), 100, "fee rate");
        Periods memory p = d.settlement.periods();
        vm.assertEq(p.heartbeat, 60, "T");
        vm.assertEq(p.thaw, 140, "THAW");
        vm.assertEq(p.reaction, 1, "D");
        vm.assertEq(d.token.minter(), owner, "the owner mints where nobody else is named");
        vm.assertEq(d.token.balanceOf(0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65), 1e17, "second grant");
        vm.assertEq(d.token.totalSupply(), 2e17, "nothing but the grants");
        vm.assertEq(d.registry.owner(), owner, "registry's owner");
        vm.assertEq(d.registry.token(), address(d.token), "stakes are in the token");
        vm.assertEq(address(d.timelock), address(0), "no timelock");
        vm.assertEq(address(d.stablecoin), address(0), "no second Settlement");
    }

    function test_TheCatalogIsFilledAndHandedOver() external {
        address owner = vm.parseJsonAddress(_local(), ".owner");
        Deploy.Deployment memory d = script.run();
        ResourceClass[] memory classes = d.catalog.classes();
        vm.assertEq(classes.length, _classes(_local()), "classes");
        vm.assertEq(classes[0].name, "gpu.h200", "first class");
        vm.assertEq(classes[4].scale, 1_073_741_824, "egress is priced by the GiB");
        vm.assertEq(d.catalog.owner(), OPERATOR, "until the owner has proven that it can act");
        vm.assertEq(d.catalog.pendingOwner(), owner, "offered");
        vm.prank(owner);
        d.catalog.acceptOwnership();
        vm.assertEq(d.catalog.owner(), owner, "accepted");
        script.run();
        vm.assertEq(d.catalog.pendingOwner(), address(0), "a repeated deployment does not offer it again");
    }

    function test_ARepeatedDeploymentSendsNothing() external {
        Deploy.Deployment memory first = script.run();
        uint64 sent = vm.getNonce(OPERATOR);
        uint64 created = _created();
        vm.warp(1 days);
        Deploy.Deployment memory second = _script().run();
        vm.assertEq(keccak256(abi.encode(second)), keccak256(abi.encode(first)), "the same contracts");
        vm.assertEq(_created(), created, "nothing is created");
        vm.assertEq(vm.getNonce(OPERATOR), sent, "nothing is sent");
    }

    function test_AHalfDoneDeploymentIsResumed() external {
        string memory json = _local();
        Grant[] memory grants = new Grant[](2);
        grants[0] = Grant({to: 0x90F79bf6EB2c4f870365E785982E1f101E93b906, amount: 1e17});
        grants[1] = Grant({to: 0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65, amount: 1e17});
        bytes memory arguments =
            abi.encode(vm.parseJsonAddress(json, ".owner"), grants, Emission({total: 1e17, start: 0, duration: 0}));
        bytes memory code = bytes.concat(vm.getCode("ComputeToken.sol:ComputeToken"), arguments);
        (bool success,) = DeterministicDeployer.AT.call(bytes.concat(bytes32(0), code));
        vm.assertTrue(success, "an earlier run got as far as the token");

        uint64 before = _created();
        Deploy.Deployment memory d = script.run();
        vm.assertEq(address(d.token), DeterministicDeployer.addressOf(0, code), "the token that stood");
        vm.assertEq(_created() - before, 4, "Permit2 and the other three");
    }

    function test_AHalfFilledCatalogIsFilledFurther() external {
        string memory full = _local();
        string memory part = _with(
            full,
            "\"resources\"",
            "\"resources\": [{\"name\": \"gpu.h200\", \"unit\": \"GPU-ms\", "
            "\"scale\": \"3600000\", \"scuWeight\": \"100000\"}], \"later\""
        );
        Deploy.Deployment memory d = script.deploy(part);
        vm.assertEq(d.catalog.count(), 1, "the first run got as far as one class");
        d = script.deploy(full);
        vm.assertEq(d.catalog.count(), _classes(full), "the second adds the others");
    }

    function test_OtherSaltsGiveOtherAddresses() external {
        Deploy.Deployment memory first = script.run();
        string memory zeroes = "0x0000000000000000000000000000000000000000000000000000000000000000";
        string memory one = "0x0000000000000000000000000000000000000000000000000000000000000001";
        Deploy.Deployment memory second = script.deploy(_with(_local(), _field("salt", zeroes), _field("salt", one)));
        vm.assertTrue(address(first.token) != address(second.token), "two deployments on one chain");
        vm.assertEq(second.settlement.token(), address(second.token), "each with its own token");
    }

    function test_ATimelockOwnsEverything() external {
        Deploy.Deployment memory d = script.deploy(_public("op-stack", 10));
        address timelock = address(d.timelock);
        vm.assertEq(d.timelock.getMinDelay(), 2 days, "delay");
        vm.assertTrue(d.timelock.hasRole(d.timelock.PROPOSER_ROLE(), PROPOSER), "proposer");
        vm.assertTrue(d.timelock.hasRole(d.timelock.EXECUTOR_ROLE(), address(0)), "anyone may execute");
        vm.assertFalse(d.timelock.hasRole(d.timelock.DEFAULT_ADMIN_ROLE(), OPERATOR), "the operator has no power");
        vm.assertEq(d.settlement.owner(), timelock, "settlement's owner");
        vm.assertEq(d.settlement.treasury(), timelock, "treasury where none is named");
        vm.assertEq(d.settlement.guardian(), GUARDIAN, "the guardian is another");
        vm.assertEq(d.registry.owner(), timelock, "registry's owner");
        vm.assertEq(d.token.minter(), timelock, "minter");

        bytes memory accept = abi.encodeCall(d.catalog.acceptOwnership, ());
        vm.prank(PROPOSER);
        d.timelock.schedule(address(d.catalog), 0, accept, 0, 0, 2 days);
        vm.warp(block.timestamp + 2 days);
        d.timelock.execute(address(d.catalog), 0, accept, 0, 0);
        vm.assertEq(d.catalog.owner(), timelock, "catalog's owner");
    }

    function test_AStablecoinHasASettlementOfItsOwn() external {
        string memory json = _public("op-stack", 10);
        Deploy.Deployment memory d = script.deploy(json);
        vm.assertEq(d.stablecoin.token(), vm.parseJsonAddress(json, ".stablecoin.token"), "its token");
        vm.assertEq(d.stablecoin.minimumBond(), 1_000_000_000, "a bond in its unit");
        vm.assertEq(d.settlement.minimumBond(), 10_000_000_000_000, "the other's is untouched");
        vm.assertEq(
            keccak256(abi.encode(d.stablecoin.periods())), keccak256(abi.encode(d.settlement.periods())), "times"
        );
        vm.assertEq(d.stablecoin.owner(), d.settlement.owner(), "owner");
    }

    function test_TheTemplateOfTheOpStackOutlastsForcedInclusion() external {
        _checkTemplate("op-stack", 10, 12 hours);
    }

    function test_TheTemplateOfArbitrumOutlastsForcedInclusion() external {
        _checkTemplate("arbitrum", 42_161, 24 hours);
    }

    /// @dev The numbers of docs/chains.md: each is the least that the contract takes for this F and D, but X.
    function _checkTemplate(string memory name, uint256 chainId, uint256 inclusion) private {
        Periods memory p = script.deploy(_public(name, chainId)).settlement.periods();
        uint256 step = inclusion + 12 hours;
        uint256 exit = 6 * step + 3 * inclusion + 12 hours;
        vm.assertEq(p.inclusion, inclusion, "F");
        vm.assertEq(p.reaction, 12 hours, "D");
        vm.assertEq(p.challenge, step, "W");
        vm.assertEq(p.answer, step, "R");
        vm.assertEq(p.heartbeat, step, "T");
        vm.assertEq(p.thaw, exit, "THAW");
        vm.assertEq(p.retirement, exit, "U");
        vm.assertEq(p.recovery, 7 days, "X");
    }
}
