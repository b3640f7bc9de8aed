// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Deploy} from "../../script/Deploy.s.sol";
import {ChainProfile} from "../../script/utils/ChainProfile.sol";
import {DeterministicDeployer} from "../../script/utils/DeterministicDeployer.sol";
import {NetworkFile} from "../../script/utils/Network.sol";
import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {DeployFixture} from "../utils/DeployFixture.sol";
import {vm} from "../utils/Vm.sol";

contract DeployRefusalsTest is DeployFixture {
    string private constant OWNER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

    function _refuse(string memory json, bytes memory reason) private {
        vm.expectRevert(reason);
        script.deploy(json);
    }

    function _tooShort(string memory profile, string memory period, uint256 given, uint256 required)
        private
        pure
        returns (bytes memory)
    {
        return abi.encodeWithSelector(ChainProfile.PeriodTooShort.selector, profile, period, given, required);
    }

    function test_RevertWhen_OtherCodeStands() external {
        Deploy.Deployment memory d = script.run();
        bytes32 right = address(d.settlement).codehash;
        vm.etch(address(d.settlement), hex"6000");
        _refuse(
            _local(),
            abi.encodeWithSelector(
                DeterministicDeployer.WrongCode.selector, "Settlement", d.settlement, keccak256(hex"6000"), right
            )
        );
    }

    function test_RevertWhen_TheDeployerIsMissing() external {
        vm.etch(DeterministicDeployer.AT, "");
        _refuse(
            _local(), abi.encodeWithSelector(DeterministicDeployer.DeployerMissing.selector, DeterministicDeployer.AT)
        );
    }

    function test_RevertWhen_TheConstructorReverts() external {
        string memory json = _with(_local(), _number("thaw", 140), _number("thaw", 139));
        bytes memory reason = abi.encodeWithSelector(IEscrow.PeriodTooShort.selector, bytes32("THAW"), 139, 140);
        _refuse(json, abi.encodeWithSelector(DeterministicDeployer.NotCreated.selector, "Settlement", reason));
    }

    function test_RevertWhen_TheTemplatesAreNotFilledIn() external {
        vm.chainId(10);
        bytes memory missing = abi.encodeWithSelector(ChainProfile.AddressMissing.selector, "operator");
        _refuse(vm.readFile("contracts/script/networks/op-stack.json"), missing);
        vm.chainId(42_161);
        _refuse(vm.readFile("contracts/script/networks/arbitrum.json"), missing);
    }

    function test_RevertWhen_ThePeriodsDoNotOutlastTheChain() external {
        string memory json =
            _with(_public("arbitrum", 42_161), _number("inclusion", 86_400), _number("inclusion", 86_399));
        _refuse(json, _tooShort("arbitrum", "inclusion", 86_399, 86_400));
        json = _with(_public("op-stack", 10), _number("inclusion", 43_200), _number("inclusion", 43_199));
        _refuse(json, _tooShort("op-stack", "inclusion", 43_199, 43_200));
        json = _with(_public("op-stack", 10), _number("reaction", 43_200), _number("reaction", 43_199));
        _refuse(json, _tooShort("op-stack", "reaction", 43_199, 43_200));
        json = _with(_public("op-stack", 10), _number("recovery", 604_800), _number("recovery", 604_799));
        _refuse(json, _tooShort("op-stack", "recovery", 604_799, 604_800));
    }

    function test_RevertWhen_AShorterThawWouldLetAClientOut() external {
        string memory json = _with(_public("op-stack", 10), _number("thaw", 691_200), _number("thaw", 691_199));
        bytes memory reason = abi.encodeWithSelector(IEscrow.PeriodTooShort.selector, bytes32("THAW"), 691_199, 691_200);
        _refuse(json, abi.encodeWithSelector(DeterministicDeployer.NotCreated.selector, "Settlement", reason));
        json = _with(_public("arbitrum", 42_161), _number("thaw", 1_080_000), _number("thaw", 1_079_999));
        reason = abi.encodeWithSelector(IEscrow.PeriodTooShort.selector, bytes32("THAW"), 1_079_999, 1_080_000);
        _refuse(json, abi.encodeWithSelector(DeterministicDeployer.NotCreated.selector, "Settlement", reason));
    }

    function test_RevertWhen_TheChainIsOfAnotherKind() external {
        string memory json = _with(_local(), _field("chainId", "51866"), _field("chainId", "10"));
        _refuse(json, abi.encodeWithSelector(ChainProfile.WrongChain.selector, 51_866, 10));
        vm.chainId(10);
        _refuse(json, abi.encodeWithSelector(ChainProfile.WrongProfile.selector, 10, "local", "op-stack"));
        json = _with(_public("op-stack", 42_161), _field("chainId", "10"), _field("chainId", "42161"));
        _refuse(json, abi.encodeWithSelector(ChainProfile.WrongProfile.selector, 42_161, "op-stack", "arbitrum"));
        vm.chainId(777);
        json = _with(_local(), _field("chainId", "51866"), _field("chainId", "777"));
        _refuse(json, abi.encodeWithSelector(ChainProfile.WrongProfile.selector, 777, "local", "op-stack or arbitrum"));
        json = _with(json, _field("profile", "local"), _field("profile", "lokal"));
        _refuse(json, abi.encodeWithSelector(ChainProfile.UnknownProfile.selector, "lokal"));
    }

    function test_RevertWhen_TheRolesAreNotApart() external {
        string memory json = _with(
            _local(), _field("guardian", "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc"), _field("guardian", OWNER)
        );
        _refuse(
            json, abi.encodeWithSelector(ChainProfile.GuardianIsOwner.selector, vm.parseJsonAddress(json, ".owner"))
        );
        json = _with(_local(), _field("owner", OWNER), _field("owner", ZERO));
        _refuse(json, abi.encodeWithSelector(ChainProfile.AddressMissing.selector, "owner"));
        json = _with(_public("op-stack", 10), "\"timelock\"", string.concat(_field("owner", OWNER), ", \"timelock\""));
        _refuse(json, abi.encodeWithSelector(ChainProfile.TwoOwners.selector, vm.parseJsonAddress(json, ".owner")));
        json = _with(_public("op-stack", 10), "\"timelock\"", string.concat(_field("owner", OWNER), ", \"later\""));
        _refuse(
            json, abi.encodeWithSelector(ChainProfile.OwnerWithoutCode.selector, vm.parseJsonAddress(json, ".owner"))
        );
    }

    function test_RevertWhen_NobodyCouldUseTheTimelock() external {
        string memory executors = string.concat("\"executors\": [\"", ZERO, "\"]");
        string memory json = _with(_public("op-stack", 10), executors, "\"executors\": []");
        _refuse(json, abi.encodeWithSelector(ChainProfile.TimelockUnusable.selector, 1, 0));
        string memory proposers = string.concat("[\"", vm.toString(PROPOSER), "\"]");
        _refuse(
            _with(_public("op-stack", 10), proposers, "[]"),
            abi.encodeWithSelector(ChainProfile.TimelockUnusable.selector, 0, 1)
        );
        _refuse(
            _with(_public("op-stack", 10), proposers, string.concat("[\"", ZERO, "\"]")),
            abi.encodeWithSelector(ChainProfile.AddressMissing.selector, "timelock.proposers")
        );
    }

    function test_RevertWhen_TheStablecoinIsNotThere() external {
        string memory json = _public("op-stack", 10);
        address token = vm.parseJsonAddress(json, ".stablecoin.token");
        vm.etch(token, "");
        _refuse(json, abi.encodeWithSelector(Deploy.StablecoinMissing.selector, token));
    }

    function test_RevertWhen_AClassWouldChange() external {
        script.run();
        string memory json = _with(_local(), _field("scuWeight", "130"), _field("scuWeight", "131"));
        _refuse(json, abi.encodeWithSelector(Deploy.ResourceDiffers.selector, 3, "memory", "memory"));
    }

    function test_RevertWhen_TheCatalogIsNoLongerTheOperators() external {
        Deploy.Deployment memory d = script.run();
        address owner = vm.parseJsonAddress(_local(), ".owner");
        vm.prank(owner);
        d.catalog.acceptOwnership();
        string memory json = _with(
            _local(),
            "}\n  ]\n}",
            "}, {\"name\": \"new\", \"unit\": \"GPU-ms\", \"scale\": \"1\", \"scuWeight\": \"1\"}\n  ]\n}"
        );
        _refuse(json, abi.encodeWithSelector(Deploy.ResourceNeedsOwner.selector, "new", owner));
    }

    function test_RevertWhen_ANumberIsTooLarge() external {
        string memory json =
            _with(_local(), _field("minimumBond", "1000000000000"), _field("minimumBond", "18446744073709551616"));
        _refuse(
            json,
            abi.encodeWithSelector(
                NetworkFile.NumberTooLarge.selector, ".settlement.minimumBond", uint256(1) << 64, type(uint64).max
            )
        );
    }
}
