// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {RegistryHandler} from "./RegistryHandler.sol";

/// @notice Numbers are those of the README in this folder. The handler knows what they say.
abstract contract RegistryInvariants {
    /// @dev As forge expects it.
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    RegistryHandler internal handler;

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev What is not a step: the set-up, and the end.
    function excludeSelectors() external view returns (FuzzSelector[] memory excluded) {
        bytes4[] memory selectors = new bytes4[](2);
        selectors[0] = handler.setUp.selector;
        selectors[1] = handler.leave.selector;
        excluded = new FuzzSelector[](1);
        excluded[0] = FuzzSelector({addr: address(handler), selectors: selectors});
    }

    function invariant_Registry() external view {
        handler.checkBooks();
    }

    function afterInvariant() external {
        handler.leave();
    }
}

contract RegistryWithComputeTokenInvariants is RegistryInvariants {
    function setUp() external {
        handler = new RegistryHandler(true);
    }
}

contract RegistryWithForeignTokenInvariants is RegistryInvariants {
    function setUp() external {
        handler = new RegistryHandler(false);
    }
}
