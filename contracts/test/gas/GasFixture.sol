// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Voucher} from "../../src/types/Messages.sol";
import {Artifacts} from "../utils/Artifacts.sol";
import {ClaimItem} from "../utils/ClaimItems.sol";
import {Leaf, ReferenceTree} from "../utils/ReferenceTree.sol";
import {SettlementFixture} from "../utils/SettlementFixture.sol";
import {Signing} from "../utils/Signing.sol";
import {vm} from "../utils/Vm.sol";

/// @notice Whole-transaction gas (21,000, calldata and execution, refunds taken off; each call is a transaction of its own,
/// so everything it touches is cold), between parties that have dealt before.
/// @dev Only the production build is recorded: `cargo xtask gas` writes `contracts/snapshots` and compares it with the bars.
/// forge-config: default.isolate = true
abstract contract GasFixture is SettlementFixture {
    using ReferenceTree for Leaf[];
    using ReferenceTree for ReferenceTree.Node[];

    /// @dev EIP-7825: no transaction may have a higher gas limit.
    uint256 internal constant MAX_GAS = 1 << 24;
    /// @dev Nodes relay no larger transaction.
    uint256 internal constant MAX_BYTES = 128 * 1024;
    /// @dev What a signed transaction has beside its calldata: fees, limits, addresses and the signature.
    uint256 internal constant ENVELOPE = 150;
    /// @dev Amounts as they occur: a whole number of nano with all its digits in use.
    uint64 internal constant PRICE = 1_234_567_891;

    function _provider(uint256 i) internal pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode("provider", i)))));
    }

    /* RECORDS */

    /// @dev Gas of the transaction that was just made.
    function _gas() internal view returns (uint256) {
        return vm.lastCallGas().gasTotalUsed;
    }

    function _record(string memory group, string memory name, uint256 value) internal {
        if (Artifacts.production()) vm.snapshotValue(group, name, value);
    }

    /// @dev Records the transaction that was just made.
    function _record(string memory name) internal returns (uint256 gas) {
        gas = _gas();
        _record("Settlement", name, gas);
    }

    /* STEPS */

    /// @dev A session key for each channel, all of one client.
    function _openMany(address keeper_, uint256 count) internal {
        for (uint256 i; i < count; ++i) {
            vm.prank(client);
            settlement.open(vm.addr(1000 + i), keeper_, DEPOSIT);
        }
    }

    /// @dev Vouchers of consecutive channels, for the keeper's open batch, or direct ones for batch 0.
    function _vouchers(address keeper_, uint32 number, uint256 first, uint256 count, uint64 total)
        internal
        view
        returns (bytes memory)
    {
        bytes[] memory items = new bytes[](count);
        for (uint256 i; i < count; ++i) {
            Voucher memory v = _voucher(number, total, _provider(first + i), total);
            v.keeper = keeper_;
            items[i] = Signing.collectItem(messages, domain, 1000 + first + i, v);
        }
        return _join(items);
    }

    /// @dev Collects so many channels at `total`. Returns the gas of it.
    function _collectMany(uint256 first, uint256 count, uint64 total) internal returns (uint256) {
        bytes memory items = _vouchers(keeper, _number(), first, count, total);
        vm.prank(keeper);
        settlement.collect(items);
        return _gas();
    }

    /// @dev Commits leaves for `count` providers that share `debits` less the fee.
    function _commitProviders(uint256 first, uint256 count, uint256 debits) internal returns (bytes memory) {
        uint256 rest = debits - debits * FEE_BPS / 10_000;
        Leaf[] memory leaves = new Leaf[](count);
        bytes[] memory packed = new bytes[](count);
        for (uint256 i; i < count; ++i) {
            uint256 share = i + 1 < count ? rest / (count - i) : rest;
            leaves[i] = Leaf(_provider(first + i), uint64(share));
            packed[i] = abi.encodePacked(leaves[i].provider, leaves[i].amount);
            rest -= share;
        }
        ReferenceTree.Node memory root = leaves.nodes().root();
        vm.prank(keeper);
        settlement.commit(root.hash, root.sum, keccak256("lines"), root.sum, 1000, keccak256("data"));
        return _join(packed);
    }

    /// @dev Commits a tree of 2^depth leaves of which one, ann's, is known. Returns its item.
    function _commitDeep(uint256 depth, uint64 debits, uint64 amount) internal returns (ClaimItem memory item) {
        uint64 sum = debits - debits * FEE_BPS / 10_000;
        item = ClaimItem({batch: _number(), amount: amount, index: uint32(0xa2a5c & ((1 << depth) - 1)), proof: ""});
        ReferenceTree.Node memory node = ReferenceTree.leaf(Leaf(ann, amount));
        for (uint256 i; i < depth; ++i) {
            uint64 share = i + 1 < depth ? (sum - node.sum) / 2 : sum - node.sum;
            ReferenceTree.Node memory sibling = ReferenceTree.Node(keccak256(abi.encode(item.batch, i)), share);
            item.proof = bytes.concat(item.proof, abi.encodePacked(sibling.hash, sibling.sum));
            node =
                (item.index >> i) & 1 == 0 ? ReferenceTree.parent(node, sibling) : ReferenceTree.parent(sibling, node);
        }
        vm.prank(keeper);
        settlement.commit(node.hash, node.sum, keccak256("lines"), node.sum, 1000, keccak256("data"));
    }

    /// @dev One batch of `PRICE` with a deep tree, final. Channel 0 pays for all of them.
    function _deepBatch(uint256 depth, uint64 total) internal returns (ClaimItem memory item) {
        _collectMany(0, 1, total);
        item = _commitDeep(depth, PRICE, PRICE / 100);
        _skip(W);
    }

    /// @dev Concatenates with one allocation; `bytes.concat` in a loop would need memory quadratic in the length.
    function _join(bytes[] memory items) internal pure returns (bytes memory joined) {
        uint256 length;
        for (uint256 i; i < items.length; ++i) {
            length += items[i].length;
        }
        joined = new bytes(length);
        uint256 at;
        for (uint256 i; i < items.length; ++i) {
            bytes memory item = items[i];
            assembly ("memory-safe") {
                mcopy(add(add(joined, 0x20), at), add(item, 0x20), mload(item))
            }
            at += item.length;
        }
    }
}
