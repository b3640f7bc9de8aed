// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";

import {ProviderRegistry} from "../src/ProviderRegistry.sol";
import {ResourceCatalog} from "../src/ResourceCatalog.sol";
import {Settlement} from "../src/Settlement.sol";
import {IComputeToken} from "../src/interfaces/IComputeToken.sol";
import {ResourceClass} from "../src/types/ResourceClass.sol";
import {Settings} from "../src/types/Settings.sol";
import {ChainProfile} from "./utils/ChainProfile.sol";
import {DeterministicDeployer} from "./utils/DeterministicDeployer.sol";
import {Network, NetworkFile} from "./utils/Network.sol";
import {VM} from "./utils/VmScript.sol";

/// @title Deploy: the contracts of one chain, from a network file
/// @notice Can be repeated: what stands with the right code is left alone, the rest is added. `CAPA_NETWORK` names the
/// file; `CAPA_DEPLOY_PLAN` a file for what stands where. `cargo xtask deploy` sets both and writes the address book.
contract Deploy {
    using NetworkFile for string;
    using ChainProfile for Network;

    address private constant PERMIT2 = 0x000000000022D473030F116dDEE9F6B43aC78BA3;
    bytes32 private constant PERMIT2_SALT = 0x0000000000000000000000000000000000000000d3af2663da51c10215000000;
    string private constant PERMIT2_CODE = "contracts/vendor/permit2/creation.hex";

    /// @notice What stands after the deployment. `timelock` and `stablecoin` are zero where there is none.
    struct Deployment {
        IComputeToken token;
        Settlement settlement;
        ProviderRegistry registry;
        ResourceCatalog catalog;
        TimelockController timelock;
        /// @dev The second Settlement, for a stablecoin.
        Settlement stablecoin;
    }

    /// @dev The plan so far, as JSON.
    string private _plan;

    /// @notice The catalog has another class than the network file at this place: classes are never changed.
    error ResourceDiffers(uint32 id, string found, string expected);

    /// @notice The catalog belongs to its owner by now, who must add this class itself.
    error ResourceNeedsOwner(string name, address owner);

    /// @notice Permit2's vendored code is not Permit2's: it would not stand where it must.
    error NotPermit2(address at, address expected);

    /// @notice The stablecoin of the network file is not on this chain.
    error StablecoinMissing(address token);

    /// @notice Deploys the network of the file that the environment names.
    function run() external returns (Deployment memory d) {
        return deploy(VM.readFile(VM.envOr("CAPA_NETWORK", "contracts/script/networks/local.json")));
    }

    /// @notice Deploys a network from the text of its file.
    function deploy(string memory json) public returns (Deployment memory d) {
        Network memory n = json.read();
        n.check();
        _plan = "";
        _permit2(n);
        _resolveOwner(n, d);
        d.token = IComputeToken(_create(n, "token", "ComputeToken", abi.encode(n.minter, n.grants, n.emission)));
        d.settlement = Settlement(_settlement(n, "settlement", address(d.token), n.settings));
        d.registry =
            ProviderRegistry(_create(n, "registry", "ProviderRegistry", abi.encode(d.token, n.owner, n.registry)));
        d.catalog = ResourceCatalog(_create(n, "catalog", "ResourceCatalog", abi.encode(n.operator)));
        _fill(n, d.catalog);
        _handOver(n, d.catalog);
        _stablecoin(n, d);
        _writePlan(n);
    }

    /// @dev Settlement calls it where it is on every other chain.
    function _permit2(Network memory n) private {
        if (PERMIT2.code.length != 0) return;
        bytes memory code = VM.parseBytes(VM.trim(VM.readFile(PERMIT2_CODE)));
        address at = DeterministicDeployer.addressOf(PERMIT2_SALT, code);
        if (at != PERMIT2) revert NotPermit2(at, PERMIT2);
        DeterministicDeployer.create("Permit2", n.operator, PERMIT2_SALT, code);
    }

    /// @dev The timelock is its own administrator: nobody, the operator included, can skip its delay.
    function _resolveOwner(Network memory n, Deployment memory d) private {
        if (n.timelock.proposers.length != 0) {
            bytes memory arguments =
                abi.encode(n.timelock.delay, n.timelock.proposers, n.timelock.executors, address(0));
            d.timelock = TimelockController(payable(_create(n, "timelock", "TimelockController", arguments)));
            n.owner = address(d.timelock);
        }
        n.settings.owner = n.owner;
        if (n.settings.treasury == address(0)) n.settings.treasury = n.owner;
        if (n.minter == address(0)) n.minter = n.owner;
    }

    function _settlement(Network memory n, string memory key, address token, Settings memory settings)
        private
        returns (address)
    {
        return _create(n, key, "Settlement", abi.encode(token, n.periods, settings));
    }

    function _fill(Network memory n, ResourceCatalog catalog) private {
        uint32 count = catalog.count();
        for (uint32 i; i < n.resources.length; ++i) {
            ResourceClass memory c = n.resources[i];
            if (i < count) {
                ResourceClass memory found = catalog.resourceClass(i + 1);
                if (keccak256(abi.encode(found)) != keccak256(abi.encode(c))) {
                    revert ResourceDiffers(i + 1, found.name, c.name);
                }
                continue;
            }
            if (catalog.owner() != n.operator) revert ResourceNeedsOwner(c.name, catalog.owner());
            VM.broadcast(n.operator);
            catalog.add(c.name, c.unit, c.scale, c.scuWeight);
        }
    }

    /// @dev The owner takes the catalog with `acceptOwnership`, which proves that it can act.
    function _handOver(Network memory n, Ownable2Step catalog) private {
        if (catalog.owner() != n.operator || n.operator == n.owner || catalog.pendingOwner() == n.owner) return;
        VM.broadcast(n.operator);
        catalog.transferOwnership(n.owner);
    }

    function _stablecoin(Network memory n, Deployment memory d) private {
        address token = n.stablecoin.token;
        if (token == address(0)) return;
        if (token.code.length == 0) revert StablecoinMissing(token);
        Settings memory settings = Settings({
            owner: n.settings.owner,
            guardian: n.settings.guardian,
            treasury: n.settings.treasury,
            minimumBond: n.stablecoin.minimumBond,
            feeBps: n.stablecoin.feeBps
        });
        d.stablecoin = Settlement(_settlement(n, "stablecoin", token, settings));
        _note("stablecoinToken", _codeJson(token, true));
    }

    function _create(Network memory n, string memory key, string memory name, bytes memory arguments)
        private
        returns (address at)
    {
        bytes memory code = VM.getCode(string.concat(name, ".sol:", name));
        bool standing;
        (at, standing) = DeterministicDeployer.create(name, n.operator, n.salt, bytes.concat(code, arguments));
        string memory creation = string.concat(
            _text("name", name), _text("creationCode", VM.toString(code)), _text("arguments", VM.toString(arguments))
        );
        _note(key, string.concat(creation, _codeJson(at, standing)));
    }

    function _note(string memory key, string memory fields) private {
        _plan = string.concat(_plan, bytes(_plan).length == 0 ? "" : ",", "\n    \"", key, "\": {", fields, "}");
    }

    function _codeJson(address at, bool standing) private view returns (string memory) {
        return string.concat(
            _text("address", VM.toString(at)),
            _text("codeHash", VM.toString(at.codehash)),
            _text("codeSize", VM.toString(at.code.length)),
            "\"standing\": ",
            standing ? "true" : "false"
        );
    }

    function _text(string memory key, string memory value) private pure returns (string memory) {
        return string.concat("\"", key, "\": \"", value, "\", ");
    }

    function _writePlan(Network memory n) private {
        string memory path = VM.envOr("CAPA_DEPLOY_PLAN", "");
        if (bytes(path).length == 0) return;
        string memory head = string.concat(
            "{\n  ",
            _text("chainId", VM.toString(n.chainId)),
            _text("deployer", VM.toString(DeterministicDeployer.AT)),
            _text("salt", VM.toString(n.salt)),
            "\"contracts\": {"
        );
        VM.writeFile(path, string.concat(head, _plan, "\n  }\n}\n"));
    }
}
