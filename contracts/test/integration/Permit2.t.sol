// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Permit2Deployer} from "../utils/Permit2Deployer.sol";
import {vm} from "../utils/Vm.sol";

/// @notice What these tests ask of Permit2.
interface IPermit2Domain {
    function DOMAIN_SEPARATOR() external view returns (bytes32);
}

/// @notice The committed creation code is Permit2's: only its exact bytes land at the canonical address.
contract Permit2Test {
    function _landsAt(bytes memory creationCode) private pure returns (address) {
        bytes32 hash = keccak256(
            abi.encodePacked(
                hex"ff", Permit2Deployer.DETERMINISTIC_DEPLOYER, Permit2Deployer.SALT, keccak256(creationCode)
            )
        );
        return address(uint160(uint256(hash)));
    }

    function testFuzz_OnlyTheExactCodeLandsAtTheCanonicalAddress(uint256 at, uint8 change) external view {
        bytes memory code = Permit2Deployer.creationCode();
        vm.assertEq(_landsAt(code), Permit2Deployer.PERMIT2, "the committed code");
        uint256 i = at % code.length;
        code[i] = bytes1(uint8(code[i]) ^ (change == 0 ? 1 : change));
        vm.assertFalse(_landsAt(code) == Permit2Deployer.PERMIT2, "one byte changed");
    }

    function test_DeploysWhereEveryChainHasIt() external {
        vm.assertEq(Permit2Deployer.PERMIT2.code.length, 0, "not there yet");
        vm.assertEq(Permit2Deployer.deploy(), Permit2Deployer.PERMIT2, "deployed");
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,uint256 chainId,address verifyingContract)"),
                keccak256("Permit2"),
                block.chainid,
                Permit2Deployer.PERMIT2
            )
        );
        vm.assertEq(IPermit2Domain(Permit2Deployer.PERMIT2).DOMAIN_SEPARATOR(), domain, "its domain is this chain's");
        vm.assertEq(Permit2Deployer.deploy(), Permit2Deployer.PERMIT2, "found, not deployed again");
    }
}
