// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {CompactSignature} from "../../src/libraries/CompactSignature.sol";
import {MessageHash} from "../../src/libraries/MessageHash.sol";
import {SumTree} from "../../src/libraries/SumTree.sol";
import {VoucherFrame} from "../../src/libraries/VoucherFrame.sol";

/// @notice Calls the internal libraries with calldata, as the contracts do.
contract Harness {
    using VoucherFrame for VoucherFrame.Frame;

    function proves(bytes32 root, uint64 sum, bytes32 leaf, uint64 amount, uint32 index, bytes calldata proof)
        external
        pure
        returns (bool)
    {
        return SumTree.proves(SumTree.commitment(root, sum), leaf, amount, index, proof);
    }

    function build(bytes calldata leaves) external pure returns (bytes32 root, uint256 sum) {
        return SumTree.build(leaves);
    }

    function recover(bytes32 digest, bytes32 r, bytes32 vs) external view returns (address) {
        return CompactSignature.recover(digest, r, vs);
    }

    function allocation(address provider, uint64 earned, bytes32 receipt) external pure returns (bytes32) {
        return MessageHash.allocation(provider, earned, receipt);
    }

    function voucher(address payer, address keeper, uint32 batch, uint64 total, bytes32 latest)
        external
        pure
        returns (bytes32)
    {
        return MessageHash.voucher(payer, keeper, batch, total, latest);
    }

    function acceptance(bytes32 voucherHash, address provider, uint32 batch, uint64 owed)
        external
        pure
        returns (bytes32)
    {
        return MessageHash.acceptance(voucherHash, provider, batch, owed);
    }

    function digest(bytes32 domain, bytes32 structHash) external pure returns (bytes32) {
        return MessageHash.digest(domain, structHash);
    }

    /// @dev Items are payer 20, total 8, latest 32, r 32, vs 32. Memory behind the frame must stay intact.
    function channelsOf(bytes32 domain, address keeper, uint32 batch, bytes calldata items)
        external
        view
        returns (bytes32[] memory ids, uint256[] memory totals)
    {
        VoucherFrame.Frame frame = VoucherFrame.create(domain, batch);
        uint256 count = items.length / 124;
        ids = new bytes32[](count);
        totals = new uint256[](count);
        frame.setKeeper(keeper);
        uint256 start;
        assembly ("memory-safe") {
            start := items.offset
        }
        for (uint256 i; i < count; ++i) {
            (ids[i], totals[i]) = frame.channelOf(start + i * 124);
        }
    }
}
