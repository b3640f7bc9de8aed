// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {ClaimItem, ClaimItems} from "./ClaimItems.sol";
import {Leaf, ReferenceTree} from "./ReferenceTree.sol";

/// @notice Calldata of the paying functions, for tests that send a call twice or by somebody else.
library Calls {
    using ReferenceTree for Leaf[];
    using ReferenceTree for ReferenceTree.Node[];

    /// @notice A claim of one leaf of a tree.
    function claim(address keeper, uint32 number, Leaf[] memory leaves, uint256 at)
        internal
        pure
        returns (bytes memory)
    {
        return claim(keeper, leaves[at].provider, number, leaves[at].amount, at, leaves.nodes().proof(at));
    }

    /// @notice A claim of whatever is given.
    function claim(address keeper, address provider, uint32 number, uint64 amount, uint256 index, bytes memory proof)
        internal
        pure
        returns (bytes memory)
    {
        bytes memory item = ClaimItems.pack(ClaimItem(number, amount, uint32(index), proof));
        return abi.encodeCall(ISettlement.claim, (keeper, provider, item));
    }

    function distribute(address keeper, uint32 number, Leaf[] memory leaves) internal pure returns (bytes memory) {
        return abi.encodeCall(ISettlement.distribute, (keeper, number, leaves.pack()));
    }

    function redeem(address keeper, bytes memory items) internal pure returns (bytes memory) {
        return abi.encodeCall(ISettlement.redeem, (keeper, items));
    }
}
