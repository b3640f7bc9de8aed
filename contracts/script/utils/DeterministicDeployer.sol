// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {VM} from "./VmScript.sol";

/// @title DeterministicDeployer
/// @notice Creation by CREATE2 through the contract that nearly every chain carries: a contract's address follows from its
/// code, its arguments and the salt, whoever sends the transaction.
library DeterministicDeployer {
    /// @dev Its calldata is a salt and creation code.
    address internal constant AT = 0x4e59b44847b379578588920cA78FbF26c0B4956C;

    /// @notice The chain lacks the deployer: see docs/deployment.md for how to put it there.
    error DeployerMissing(address deployer);

    /// @notice The constructor reverted.
    error NotCreated(string name, bytes reason);

    /// @notice Something else stands where the contract belongs.
    error WrongCode(string name, address at, bytes32 found, bytes32 expected);

    /// @notice Where the contract stands, or will.
    function addressOf(bytes32 salt, bytes memory initCode) internal pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encodePacked(hex"ff", AT, salt, keccak256(initCode))))));
    }

    /// @notice Creates the contract, unless it stands already.
    function create(string memory name, address sender, bytes32 salt, bytes memory initCode)
        internal
        returns (address at, bool standing)
    {
        at = addressOf(salt, initCode);
        bytes32 expected = keccak256(_runtimeOf(name, at, initCode));
        standing = at.code.length != 0;
        if (!standing) {
            if (AT.code.length == 0) revert DeployerMissing(AT);
            VM.broadcast(sender);
            (bool success, bytes memory reason) = AT.call(bytes.concat(salt, initCode));
            if (!success) revert NotCreated(name, reason);
        }
        if (at.codehash != expected) revert WrongCode(name, at, at.codehash, expected);
    }

    /// @dev The code that the constructor leaves at `at`: it is run there, as a call, and everything is undone. The deployer
    /// itself would not tell why a constructor reverts.
    function _runtimeOf(string memory name, address at, bytes memory initCode) private returns (bytes memory runtime) {
        uint256 snapshot = VM.snapshotState();
        VM.etch(at, initCode);
        bool success;
        while (!success) {
            VM.record();
            (success, runtime) = at.call("");
            // A constructor expects empty storage. What it meets of the standing contract's is cleared, until it is content.
            if (!success && !_clearReads(at)) revert NotCreated(name, runtime);
        }
        VM.revertToState(snapshot);
    }

    /// @dev Clears the slots that were read since `record`. False if all of them were empty.
    function _clearReads(address at) private returns (bool cleared) {
        (bytes32[] memory reads,) = VM.accesses(at);
        for (uint256 i; i < reads.length; ++i) {
            if (VM.load(at, reads[i]) == 0) continue;
            VM.store(at, reads[i], 0);
            cleared = true;
        }
    }
}
