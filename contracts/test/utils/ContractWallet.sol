// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

/// @notice A contract account that says to have signed one message, with one signature.
contract ContractWallet is IERC1271 {
    bytes32 private digest;
    bytes32 private signatureHash;

    function sign(bytes32 digest_, bytes calldata signature) external {
        digest = digest_;
        signatureHash = keccak256(signature);
    }

    /// @inheritdoc IERC1271
    function isValidSignature(bytes32 digest_, bytes calldata signature) external view returns (bytes4) {
        bool signed = digest_ == digest && keccak256(signature) == signatureHash;
        return signed ? this.isValidSignature.selector : bytes4(0xffffffff);
    }
}
