// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ComputeToken} from "../src/ComputeToken.sol";
import {ProviderRegistry} from "../src/ProviderRegistry.sol";
import {ResourceCatalog} from "../src/ResourceCatalog.sol";
import {Settlement} from "../src/Settlement.sol";
import {IComputeToken} from "../src/interfaces/IComputeToken.sol";
import {Grant} from "../src/types/Grant.sol";
import {Periods, Settings} from "../src/types/Settings.sol";

/// @notice The cheatcodes of forge that the deployment uses.
interface VmScript {
    function startBroadcast() external;
    function stopBroadcast() external;
    function readCallers() external view returns (uint8 mode, address sender, address origin);
    function envOr(string calldata name, string calldata defaultValue) external view returns (string memory);
    function readFile(string calldata path) external view returns (string memory);
    function keyExistsJson(string calldata json, string calldata key) external view returns (bool);
    function parseJsonUint(string calldata json, string calldata key) external pure returns (uint256);
    function parseJsonAddress(string calldata json, string calldata key) external pure returns (address);
    function parseJsonString(string calldata json, string calldata key) external pure returns (string memory);
    function toString(uint256 value) external pure returns (string memory);
}

/// @title Deploy: token, settlement, registry and catalog from a JSON file
/// @notice `CAPA_DEPLOY_CONFIG` names the file; `script/config/local.json` is the example and the default.
contract Deploy {
    VmScript private constant VM = VmScript(address(uint160(uint256(keccak256("hevm cheat code")))));
    string private constant DEFAULT_CONFIG = "contracts/script/config/local.json";

    /// @notice What was deployed.
    struct Deployment {
        ComputeToken token;
        Settlement settlement;
        ProviderRegistry registry;
        ResourceCatalog catalog;
    }

    /// @notice A number in the file does not fit its field.
    error NumberTooLarge(string key, uint256 value, uint256 maximum);

    /// @notice Reads the file that the environment names and deploys.
    function run() external returns (Deployment memory) {
        return deploy(VM.readFile(VM.envOr("CAPA_DEPLOY_CONFIG", DEFAULT_CONFIG)));
    }

    /// @notice Deploys from a configuration. The governor must still accept the catalog's ownership.
    function deploy(string memory json) public returns (Deployment memory d) {
        VM.startBroadcast();
        d.token = new ComputeToken(VM.parseJsonAddress(json, ".minter"), _grants(json));
        d.settlement = new Settlement(IComputeToken(address(d.token)), _periods(json), _settings(json));
        d.registry = new ProviderRegistry();
        // The deployer fills the catalog before it hands it over.
        (, address deployer,) = VM.readCallers();
        d.catalog = new ResourceCatalog(deployer);
        _addResources(json, d.catalog);
        d.catalog.transferOwnership(VM.parseJsonAddress(json, ".governor"));
        VM.stopBroadcast();
    }

    function _addResources(string memory json, ResourceCatalog catalog) private {
        for (uint256 i; _exists(json, "resources", i); ++i) {
            string memory at = _element("resources", i);
            catalog.add(
                VM.parseJsonString(json, string.concat(at, ".name")),
                VM.parseJsonString(json, string.concat(at, ".unit")),
                _uint64(json, string.concat(at, ".scale")),
                _uint64(json, string.concat(at, ".scuWeight"))
            );
        }
    }

    function _grants(string memory json) private view returns (Grant[] memory grants) {
        uint256 count;
        while (_exists(json, "grants", count)) ++count;
        grants = new Grant[](count);
        for (uint256 i; i < count; ++i) {
            string memory at = _element("grants", i);
            grants[i].to = VM.parseJsonAddress(json, string.concat(at, ".to"));
            grants[i].amount = _uint64(json, string.concat(at, ".amount"));
        }
    }

    function _periods(string memory json) private pure returns (Periods memory) {
        return Periods({
            challenge: _uint32(json, ".periods.challenge"),
            answer: _uint32(json, ".periods.answer"),
            heartbeat: _uint32(json, ".periods.heartbeat"),
            thaw: _uint32(json, ".periods.thaw"),
            retirement: _uint32(json, ".periods.retirement"),
            recovery: _uint32(json, ".periods.recovery"),
            inclusion: _uint32(json, ".periods.inclusion"),
            reaction: _uint32(json, ".periods.reaction")
        });
    }

    function _settings(string memory json) private pure returns (Settings memory) {
        return Settings({
            owner: VM.parseJsonAddress(json, ".governor"),
            guardian: VM.parseJsonAddress(json, ".guardian"),
            treasury: VM.parseJsonAddress(json, ".treasury"),
            minimumBond: _uint64(json, ".minimumBond"),
            feeBps: uint16(_bounded(json, ".feeBps", type(uint16).max))
        });
    }

    function _element(string memory list, uint256 i) private pure returns (string memory) {
        return string.concat(".", list, "[", VM.toString(i), "]");
    }

    function _exists(string memory json, string memory list, uint256 i) private view returns (bool) {
        return VM.keyExistsJson(json, _element(list, i));
    }

    function _uint64(string memory json, string memory key) private pure returns (uint64) {
        return uint64(_bounded(json, key, type(uint64).max));
    }

    function _uint32(string memory json, string memory key) private pure returns (uint32) {
        return uint32(_bounded(json, key, type(uint32).max));
    }

    function _bounded(string memory json, string memory key, uint256 maximum) private pure returns (uint256 value) {
        value = VM.parseJsonUint(json, key);
        if (value > maximum) revert NumberTooLarge(key, value, maximum);
    }
}
