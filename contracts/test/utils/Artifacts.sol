// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {vm} from "./Vm.sol";

/// @notice Which build is tested: where CAPA_ARTIFACTS names the folder of the production build, its artifacts, else those of
/// the default profile, which are quicker to make.
library Artifacts {
    /// @notice Whether the production build is tested.
    function production() internal view returns (bool) {
        return bytes(_folder()).length != 0;
    }

    /// @notice Deploys a contract of `contracts/src` by its name.
    function deploy(string memory name, bytes memory arguments) internal returns (address) {
        string memory folder = _folder();
        if (bytes(folder).length == 0) return vm.deployCode(string.concat(name, ".sol:", name), arguments);
        return vm.deployCode(string.concat(folder, "/", name, ".sol/", name, ".json"), arguments);
    }

    function _folder() private view returns (string memory) {
        return vm.envOr("CAPA_ARTIFACTS", string(""));
    }
}
