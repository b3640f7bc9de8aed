// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ResourceClass} from "../types/ResourceClass.sol";

/// @title ResourceCatalog: the kinds of compute that are traded
/// @notice Append-only: orders and offers name a class by its number, whose meaning never changes. The owner adds classes;
/// nobody can change or remove one, and nothing else is governed.
interface IResourceCatalog {
    /// @notice A class was added.
    event ResourceAdded(uint32 indexed id, string name, string unit, uint64 scale, uint64 scuWeight);

    /// @notice A class needs a name and a unit.
    error EmptyText();
    /// @notice A name or unit is longer than `maximum` bytes.
    error TextTooLong(string text, uint256 maximum);
    /// @notice A name or unit has a letter that is not printable ASCII, or a space.
    error UnprintableText(string text);
    /// @notice A class needs a positive scale and weight.
    error ZeroNumber();
    /// @notice A scale or weight is above its maximum.
    error NumberTooHigh(uint64 given, uint64 maximum);
    /// @notice The name is that of class `id`.
    error NameTaken(string name, uint32 id);
    /// @notice There is no such class.
    error UnknownResource(uint32 id);

    /// @notice Adds a class and returns its number, counted from 1. Owner only.
    /// @param name At most 64 letters of printable ASCII without spaces, for example `gpu.h200`.
    /// @param unit What is metered; at most 32 such letters, for example `GPU-ms`.
    /// @param scale Metered units in the unit that prices are quoted in; 1 to 1e18.
    /// @param scuWeight Weight in standard compute units; 1 to 1e18.
    function add(string calldata name, string calldata unit, uint64 scale, uint64 scuWeight) external returns (uint32);

    /// @notice All classes in the order of their numbers.
    function classes() external view returns (ResourceClass[] memory);

    /// @notice One class.
    function resourceClass(uint32 id) external view returns (ResourceClass memory);

    /// @notice Number of classes.
    function count() external view returns (uint32);
}
