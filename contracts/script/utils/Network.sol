// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Emission} from "../../src/types/Emission.sol";
import {Grant} from "../../src/types/Grant.sol";
import {ResourceClass} from "../../src/types/ResourceClass.sol";
import {Periods, Settings} from "../../src/types/Settings.sol";
import {RegistrySettings} from "../../src/types/Stake.sol";
import {VM} from "./VmScript.sol";

/// @notice A network file, read: `script/networks/*.json`, described in docs/deployment.md.
struct Network {
    uint256 chainId;
    /// @dev What kind of chain it is, which says how long its periods must be at least.
    string profile;
    bytes32 salt;
    /// @dev Sends the transactions and fills the catalog; is left with no power.
    address operator;
    /// @dev Owns the contracts; zero where a timelock is deployed for it.
    address owner;
    Timelock timelock;
    /// @dev Zero for the owner.
    address minter;
    Grant[] grants;
    Emission emission;
    Periods periods;
    /// @dev Without the owner, and with treasury zero for the owner.
    Settings settings;
    Stablecoin stablecoin;
    RegistrySettings registry;
    ResourceClass[] resources;
}

/// @notice The arguments of OpenZeppelin's TimelockController. Nobody is proposer where none is deployed.
struct Timelock {
    uint256 delay;
    address[] proposers;
    address[] executors;
}

/// @notice What a second Settlement settles in. The token is zero where there is none.
struct Stablecoin {
    address token;
    uint64 minimumBond;
    uint16 feeBps;
}

/// @title NetworkFile
/// @notice Reads a network file.
library NetworkFile {
    /// @notice A number in the file does not fit its field.
    error NumberTooLarge(string key, uint256 value, uint256 maximum);

    /// @notice Reads all of it, and the file of grants that it names.
    function read(string memory json) internal view returns (Network memory n) {
        n.chainId = VM.parseJsonUint(json, ".chainId");
        n.profile = VM.parseJsonString(json, ".profile");
        n.salt = VM.parseJsonBytes32(json, ".salt");
        n.operator = VM.parseJsonAddress(json, ".operator");
        n.owner = _addressOrZero(json, ".owner");
        n.timelock = _timelock(json);
        n.minter = _addressOrZero(json, ".token.minter");
        n.grants = _grants(VM.readFile(VM.parseJsonString(json, ".token.grants")));
        n.emission = _emission(json);
        n.periods = _periods(json);
        n.settings = _settings(json);
        n.stablecoin = _stablecoin(json);
        n.registry = _registry(json);
        n.resources = _resources(json);
    }

    function _timelock(string memory json) private view returns (Timelock memory t) {
        if (!VM.keyExistsJson(json, ".timelock")) return t;
        t.delay = VM.parseJsonUint(json, ".timelock.delay");
        t.proposers = VM.parseJsonAddressArray(json, ".timelock.proposers");
        t.executors = VM.parseJsonAddressArray(json, ".timelock.executors");
    }

    function _grants(string memory json) private view returns (Grant[] memory grants) {
        grants = new Grant[](_count(json, "grants"));
        for (uint256 i; i < grants.length; ++i) {
            string memory at = _element("grants", i);
            grants[i].to = VM.parseJsonAddress(json, string.concat(at, ".to"));
            grants[i].amount = _uint64(json, string.concat(at, ".amount"));
        }
    }

    function _emission(string memory json) private pure returns (Emission memory) {
        return Emission({
            total: _uint64(json, ".token.emission.total"),
            start: _uint32(json, ".token.emission.start"),
            duration: _uint32(json, ".token.emission.duration")
        });
    }

    function _periods(string memory json) private pure returns (Periods memory) {
        return Periods({
            challenge: _uint32(json, ".settlement.periods.challenge"),
            answer: _uint32(json, ".settlement.periods.answer"),
            heartbeat: _uint32(json, ".settlement.periods.heartbeat"),
            thaw: _uint32(json, ".settlement.periods.thaw"),
            retirement: _uint32(json, ".settlement.periods.retirement"),
            recovery: _uint32(json, ".settlement.periods.recovery"),
            inclusion: _uint32(json, ".settlement.periods.inclusion"),
            reaction: _uint32(json, ".settlement.periods.reaction")
        });
    }

    function _settings(string memory json) private view returns (Settings memory) {
        return Settings({
            owner: address(0),
            guardian: VM.parseJsonAddress(json, ".settlement.guardian"),
            treasury: _addressOrZero(json, ".settlement.treasury"),
            minimumBond: _uint64(json, ".settlement.minimumBond"),
            feeBps: _uint16(json, ".settlement.feeBps")
        });
    }

    function _stablecoin(string memory json) private view returns (Stablecoin memory s) {
        if (!VM.keyExistsJson(json, ".stablecoin")) return s;
        s.token = VM.parseJsonAddress(json, ".stablecoin.token");
        s.minimumBond = _uint64(json, ".stablecoin.minimumBond");
        s.feeBps = _uint16(json, ".stablecoin.feeBps");
    }

    function _registry(string memory json) private view returns (RegistrySettings memory) {
        return RegistrySettings({
            slasher: _addressOrZero(json, ".registry.slasher"),
            minimumStake: _uint64(json, ".registry.minimumStake"),
            unstakeDelay: _uint32(json, ".registry.unstakeDelay"),
            slashEpoch: _uint32(json, ".registry.slashEpoch"),
            slashCapBps: _uint16(json, ".registry.slashCapBps")
        });
    }

    function _resources(string memory json) private view returns (ResourceClass[] memory classes) {
        classes = new ResourceClass[](_count(json, "resources"));
        for (uint256 i; i < classes.length; ++i) {
            string memory at = _element("resources", i);
            classes[i] = ResourceClass({
                id: uint32(i + 1),
                name: VM.parseJsonString(json, string.concat(at, ".name")),
                unit: VM.parseJsonString(json, string.concat(at, ".unit")),
                scale: _uint64(json, string.concat(at, ".scale")),
                scuWeight: _uint64(json, string.concat(at, ".scuWeight"))
            });
        }
    }

    function _count(string memory json, string memory list) private view returns (uint256 count) {
        while (VM.keyExistsJson(json, _element(list, count))) ++count;
    }

    function _element(string memory list, uint256 i) private pure returns (string memory) {
        return string.concat(".", list, "[", VM.toString(i), "]");
    }

    function _addressOrZero(string memory json, string memory key) private view returns (address) {
        return VM.keyExistsJson(json, key) ? VM.parseJsonAddress(json, key) : address(0);
    }

    function _uint64(string memory json, string memory key) private pure returns (uint64) {
        return uint64(_bounded(json, key, type(uint64).max));
    }

    function _uint32(string memory json, string memory key) private pure returns (uint32) {
        return uint32(_bounded(json, key, type(uint32).max));
    }

    function _uint16(string memory json, string memory key) private pure returns (uint16) {
        return uint16(_bounded(json, key, type(uint16).max));
    }

    function _bounded(string memory json, string memory key, uint256 maximum) private pure returns (uint256 value) {
        value = VM.parseJsonUint(json, key);
        if (value > maximum) revert NumberTooLarge(key, value, maximum);
    }
}
