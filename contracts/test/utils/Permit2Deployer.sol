// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {vm} from "./Vm.sol";

/// @notice Puts Uniswap's Permit2 where every chain has it, in the way in which it got there.
library Permit2Deployer {
    /// @dev Where Permit2 is on every chain.
    address internal constant PERMIT2 = 0x000000000022D473030F116dDEE9F6B43aC78BA3;
    /// @dev The CREATE2 deployer that Permit2 was deployed with. Its calldata is a salt and creation code.
    address internal constant DETERMINISTIC_DEPLOYER = 0x4e59b44847b379578588920cA78FbF26c0B4956C;
    /// @dev The salt that Uniswap found for its address.
    bytes32 internal constant SALT = 0x0000000000000000000000000000000000000000d3af2663da51c10215000000;

    /// @dev The runtime code of the deployer, which public chains and anvil already have.
    bytes private constant DEPLOYER_CODE =
        hex"7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3";

    /// @notice The deployer refused the creation code.
    error Permit2NotDeployed(bytes returned);

    /// @notice The committed creation code of Permit2.
    function creationCode() internal view returns (bytes memory) {
        return vm.parseBytes(vm.trim(vm.readFile("contracts/vendor/permit2/creation.hex")));
    }

    /// @notice Deploys Permit2 with the deterministic deployer, unless the chain has it. Returns its address.
    function deploy() internal returns (address) {
        if (PERMIT2.code.length != 0) return PERMIT2;
        if (DETERMINISTIC_DEPLOYER.code.length == 0) vm.etch(DETERMINISTIC_DEPLOYER, DEPLOYER_CODE);
        (bool success, bytes memory returned) = DETERMINISTIC_DEPLOYER.call(bytes.concat(SALT, creationCode()));
        if (!success || returned.length != 20) revert Permit2NotDeployed(returned);
        return address(bytes20(returned));
    }
}
