// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Deploy} from "../../script/Deploy.s.sol";
import {DeterministicDeployer} from "../../script/utils/DeterministicDeployer.sol";
import {vm} from "./Vm.sol";

/// @notice The deployment script, and network files changed in single places.
abstract contract DeployFixture {
    string internal constant ZERO = "0x0000000000000000000000000000000000000000";
    address internal constant OPERATOR = 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266;
    address internal constant PROPOSER = address(0xA11CE);
    address internal constant GUARDIAN = address(0x60A2D);

    Deploy internal script;

    function setUp() public virtual {
        script = _script();
        vm.chainId(51_866);
    }

    /// @dev By its artifact: a test that embeds all the code that the script embeds is too large.
    function _script() internal returns (Deploy) {
        return Deploy(vm.deployCode("Deploy.s.sol:Deploy", ""));
    }

    function _local() internal view returns (string memory) {
        return vm.readFile("contracts/script/networks/local.json");
    }

    /// @dev A shipped template on its chain, filled in as its deployer would.
    function _public(string memory name, uint256 chainId) internal returns (string memory json) {
        vm.chainId(chainId);
        json = vm.readFile(string.concat("contracts/script/networks/", name, ".json"));
        json = _with(json, _field("operator", ZERO), _field("operator", vm.toString(OPERATOR)));
        json = _with(
            json, string.concat("\"proposers\": [\"", ZERO), string.concat("\"proposers\": [\"", vm.toString(PROPOSER))
        );
        json = _with(json, _field("guardian", ZERO), _field("guardian", vm.toString(GUARDIAN)));
        // All that Settlement asks of its token at deployment is to be there.
        vm.etch(vm.parseJsonAddress(json, ".stablecoin.token"), hex"00");
    }

    /// @dev Fails if there is nothing to replace, so that no test passes on an unchanged file.
    function _with(string memory json, string memory from, string memory to) internal pure returns (string memory out) {
        out = vm.replace(json, from, to);
        vm.assertFalse(keccak256(bytes(out)) == keccak256(bytes(json)), string.concat("not in the file: ", from));
    }

    /// @dev How many resource classes a network file lists.
    function _classes(string memory json) internal view returns (uint256 count) {
        while (vm.keyExistsJson(json, string.concat(".resources[", vm.toString(count), "]"))) ++count;
    }

    function _field(string memory key, string memory value) internal pure returns (string memory) {
        return string.concat("\"", key, "\": \"", value, "\"");
    }

    function _number(string memory key, uint256 value) internal pure returns (string memory) {
        return string.concat("\"", key, "\": ", vm.toString(value));
    }

    /// @dev How many contracts the deterministic deployer has created.
    function _created() internal view returns (uint64) {
        return vm.getNonce(DeterministicDeployer.AT);
    }
}
