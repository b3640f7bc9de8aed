// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ComputeToken} from "../../src/ComputeToken.sol";
import {Emission} from "../../src/types/Emission.sol";
import {Grant} from "../../src/types/Grant.sol";
import {Artifacts} from "./Artifacts.sol";
import {Signing} from "./Signing.sol";
import {vm} from "./Vm.sol";

/// @notice A token of which ann, who can sign, holds 1,000.
abstract contract TokenFixture {
    uint256 internal constant ANN_KEY = 0xa11;
    uint256 internal constant CAP = 1e18;
    uint32 internal constant NOW = 1_800_000_000;
    /// @dev Released evenly over 1,000 seconds from ten seconds after the start, 200 nano a second.
    uint64 internal constant EMISSION = 200_000;
    uint32 internal constant EMISSION_START = NOW + 10;
    uint32 internal constant EMISSION_DURATION = 1000;

    address internal ann = vm.addr(ANN_KEY);
    address internal bob = address(0xb0b);
    address internal minter = address(0x3117);
    address internal stranger = address(0x57a6);

    ComputeToken internal token;

    function setUp() public virtual {
        vm.warp(NOW);
        Grant[] memory grants = new Grant[](1);
        grants[0] = Grant(ann, 1000);
        Emission memory emission = Emission(EMISSION, EMISSION_START, EMISSION_DURATION);
        token = ComputeToken(Artifacts.deploy("ComputeToken", abi.encode(minter, grants, emission)));
    }

    function _sign(uint256 key, bytes32 structHash) internal view returns (uint8 v, bytes32 r, bytes32 s) {
        return vm.sign(key, Signing.digest(token.DOMAIN_SEPARATOR(), structHash));
    }
}
