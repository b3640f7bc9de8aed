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
    uint256 private constant MAX_NAME_LENGTH = 64;
    uint256 private constant MAX_UNIT_LENGTH = 32;
    /// @dev Fits a signed 64-bit column, as every amount does.
    uint64 private constant MAX_NUMBER = 1e18;

    ResourceClass[] private _classes;
    mapping(bytes32 nameHash => uint32 id) private _byName;

    constructor(address owner) Ownable(owner) {}

    /// @inheritdoc IResourceCatalog
    function add(string calldata name, string calldata unit, uint64 scale, uint64 scuWeight)
        external
        onlyOwner
        returns (uint32 id)
    {
        _requireText(name, MAX_NAME_LENGTH);
        _requireText(unit, MAX_UNIT_LENGTH);
        _requireNumber(scale);
        _requireNumber(scuWeight);
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

    /// @dev Printable and without spaces, because a name that nobody can tell from another one would stay for good.
    function _requireText(string calldata text, uint256 maximum) private pure {
        uint256 length = bytes(text).length;
        if (length == 0) revert EmptyText();
        if (length > maximum) revert TextTooLong(text, maximum);
        for (uint256 i; i < length; ++i) {
            bytes1 letter = bytes(text)[i];
            if (letter <= 0x20 || letter >= 0x7f) revert UnprintableText(text);
        }
    }

    function _requireNumber(uint64 number) private pure {
        if (number == 0) revert ZeroNumber();
        if (number > MAX_NUMBER) revert NumberTooHigh(number, MAX_NUMBER);
    }
}
