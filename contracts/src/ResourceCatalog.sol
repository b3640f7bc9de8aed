// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IResourceCatalog} from "./interfaces/IResourceCatalog.sol";
import {ResourceClass} from "./types/ResourceClass.sol";

/// @title ResourceCatalog
/// @notice The kinds of compute that are traded, numbered from 1.
contract ResourceCatalog is IResourceCatalog, Ownable2Step {
    ResourceClass[] private _classes;
    mapping(bytes32 nameHash => uint32 id) private _byName;

    constructor(address owner) Ownable(owner) {}

    /// @inheritdoc IResourceCatalog
    function add(string calldata name, string calldata unit, uint64 scale, uint64 scuWeight)
        external
        onlyOwner
        returns (uint32 id)
    {
        if (bytes(name).length == 0 || bytes(unit).length == 0) revert EmptyText();
        if (scale == 0 || scuWeight == 0) revert ZeroNumber();
        bytes32 nameHash = keccak256(bytes(name));
        if (_byName[nameHash] != 0) revert NameTaken(name, _byName[nameHash]);

        id = count() + 1;
        _byName[nameHash] = id;
        _classes.push(ResourceClass({id: id, name: name, unit: unit, scale: scale, scuWeight: scuWeight}));
        emit ResourceAdded(id, name, unit, scale, scuWeight);
    }

    /// @inheritdoc IResourceCatalog
    function classes() external view returns (ResourceClass[] memory) {
        return _classes;
    }

    /// @inheritdoc IResourceCatalog
    function resourceClass(uint32 id) external view returns (ResourceClass memory) {
        if (id == 0 || id > _classes.length) revert UnknownResource(id);
        return _classes[id - 1];
    }

    /// @inheritdoc IResourceCatalog
    function count() public view returns (uint32) {
        return SafeCast.toUint32(_classes.length);
    }
}
