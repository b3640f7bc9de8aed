// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ClaimItem} from "../../src/types/Batch.sol";
import {Voucher} from "../../src/types/Messages.sol";
import {Leaf, ReferenceTree} from "../utils/ReferenceTree.sol";
import {SettlementFixture} from "../utils/SettlementFixture.sol";
import {Signing} from "../utils/Signing.sol";
import {vm} from "../utils/Vm.sol";

/// @notice Whole-transaction gas (21,000, calldata and execution; each call is a transaction of its own) of every step, in
/// steady state: between parties that have dealt before. The numbers are committed in `contracts/snapshots`.
/// forge-config: default.isolate = true
contract SettlementGasTest is SettlementFixture {
    using ReferenceTree for Leaf[];
    using ReferenceTree for ReferenceTree.Node[];

    uint256 private constant CHANNELS = 51;
    uint256 private constant DEPTH = 14;
    /// @dev Amounts as they occur: a whole number of nano with all its digits in use.
    uint64 private constant PRICE = 1_234_567_891;

    function setUp() public override {
        super.setUp();
        _bond();
        for (uint256 i; i < CHANNELS; ++i) {
            vm.startPrank(client);
            settlement.open(vm.addr(1000 + i), keeper, DEPOSIT);
            settlement.open(vm.addr(1000 + i), _direct(i), DEPOSIT);
            vm.stopPrank();
        }
        // A round before the one that is measured, so that no party's first payment is counted.
        _collectMany(0, CHANNELS, PRICE);
        bytes memory packed = _commitProviders(50, CHANNELS * PRICE);
        _skip(W);
        settlement.distribute(keeper, 1, packed);
        _redeemMany(0, CHANNELS, PRICE);
    }

    /// @dev All direct channels but the last lead to one provider.
    function _direct(uint256 i) private pure returns (address) {
        return _provider(i < CHANNELS - 1 ? 1000 : 1001);
    }

    function _provider(uint256 i) private pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode("provider", i)))));
    }

    function _collectMany(uint256 first, uint256 count, uint64 total) private {
        bytes memory items;
        for (uint256 i = first; i < first + count; ++i) {
            Voucher memory v = _voucher(_number(), total, _provider(i), total);
            items = bytes.concat(items, Signing.collectItem(messages, domain, 1000 + i, v));
        }
        vm.prank(keeper);
        settlement.collect(items);
    }

    function _redeemMany(uint256 first, uint256 count, uint64 total) private {
        bytes memory items;
        for (uint256 i = first; i < first + count; ++i) {
            Voucher memory v = _voucher(0, total, _direct(i), total);
            v.keeper = _direct(i);
            items = bytes.concat(items, Signing.redeemItem(messages, domain, 1000 + i, v));
        }
        vm.prank(stranger);
        settlement.redeem(items);
    }

    /// @dev Commits leaves for `count` providers that share `debits` less the fee.
    function _commitProviders(uint256 count, uint256 debits) private returns (bytes memory) {
        uint256 rest = debits - debits * FEE_BPS / 10_000;
        Leaf[] memory leaves = new Leaf[](count);
        for (uint256 i; i < count; ++i) {
            uint256 share = i + 1 < count ? rest / (count - i) : rest;
            leaves[i] = Leaf(_provider(i), uint64(share));
            rest -= share;
        }
        _commit(leaves);
        return leaves.pack();
    }

    /// @dev Commits a tree of 16,384 leaves of which one, ann's, is known. Returns its item.
    function _commitDeep(uint64 debits, uint64 amount) private returns (ClaimItem memory item) {
        uint64 sum = debits - debits * FEE_BPS / 10_000;
        item = ClaimItem({batch: _number(), amount: amount, index: 0x2a5c, proof: ""});
        ReferenceTree.Node memory node = ReferenceTree.leaf(Leaf(ann, amount));
        for (uint256 i; i < DEPTH; ++i) {
            uint64 share = i + 1 < DEPTH ? (sum - node.sum) / 2 : sum - node.sum;
            ReferenceTree.Node memory sibling = ReferenceTree.Node(keccak256(abi.encode(item.batch, i)), share);
            item.proof = bytes.concat(item.proof, abi.encodePacked(sibling.hash, sibling.sum));
            node =
                (item.index >> i) & 1 == 0 ? ReferenceTree.parent(node, sibling) : ReferenceTree.parent(sibling, node);
        }
        vm.prank(keeper);
        settlement.commit(node.hash, node.sum, keccak256("lines"), node.sum, 1000, keccak256("data"));
    }

    function _record(string memory name) private returns (uint256 gas) {
        gas = vm.lastCallGas().gasTotalUsed;
        vm.snapshotValue("Settlement", name, gas);
    }

    function _marginal(string memory name, uint256 one, uint256 many, uint256 further, uint256 bar) private {
        uint256 gas = (many - one) / further;
        vm.snapshotValue("Settlement", name, gas);
        vm.assertLe(gas, bar, name);
    }

    function test_Size() external {
        vm.snapshotValue("Settlement", "bytecode size", address(settlement).code.length);
        vm.assertLe(address(settlement).code.length, 24_576, "bytecode size");
    }

    function test_Channel() external {
        vm.startPrank(client);
        settlement.open(session, keeper, DEPOSIT);
        _record("open, new channel");
        settlement.open(session, keeper, DEPOSIT);
        _record("open, top-up");
        settlement.close(session, keeper);
        _record("close");
        _skip(THAW);
        settlement.withdraw(session, keeper);
        _record("withdraw");
    }

    function test_CollectAndCommit() external {
        // Writes batch 1 down as final, which is not part of a further channel's cost.
        _heartbeat();
        _skip(W);
        _collectMany(0, 1, 2 * PRICE);
        uint256 one = _record("collect 1 channel");
        _commitProviders(1, PRICE);
        _record("commit");
        _skip(W);
        _collectMany(0, 1, 3 * PRICE);
        one = vm.lastCallGas().gasTotalUsed;
        _commitProviders(1, PRICE);
        _skip(W);
        _collectMany(0, CHANNELS, 4 * PRICE);
        uint256 many = _record("collect 51 channels");
        _marginal("collect, each further channel", one, many, CHANNELS - 1, 11_000);
    }

    function test_Distribute() external {
        _collectMany(0, 1, 2 * PRICE);
        bytes memory first = _commitProviders(1, PRICE);
        _skip(W);
        _collectMany(0, 1, 3 * PRICE);
        bytes memory second = _commitProviders(50, PRICE);
        _skip(W);
        _heartbeat();
        settlement.distribute(keeper, 2, first);
        uint256 one = _record("distribute 1 leaf");
        settlement.distribute(keeper, 3, second);
        uint256 many = _record("distribute 50 leaves");
        _marginal("distribute, each further leaf", one, many, 49, 9500);
    }

    function test_Redeem() external {
        _redeemMany(0, 1, 2 * PRICE);
        uint256 one = _record("redeem 1 voucher");
        _redeemMany(1, 49, 2 * PRICE);
        uint256 many = _record("redeem 49 vouchers of one provider");
        _marginal("redeem, each further voucher", one, many, 48, 13_700);
    }

    function test_Claim() external {
        ClaimItem[] memory items = new ClaimItem[](14);
        for (uint32 i; i < 14; ++i) {
            _collectMany(0, 1, (i + 2) * PRICE);
            items[i] = _commitDeep(PRICE, PRICE / 100);
            _skip(W);
        }
        _heartbeat();
        // The first claim is not counted: ann's first payment. Batches 4 to 7 share a word, as do the next four.
        settlement.claim(keeper, ann, _slice(items, 0, 1));
        settlement.claim(keeper, ann, _slice(items, 1, 1));
        _record("claim 1 batch of 16,384 leaves");
        settlement.claim(keeper, ann, _slice(items, 2, 4));
        uint256 four = _record("claim 4 batches of 16,384 leaves");
        settlement.claim(keeper, ann, _slice(items, 6, 8));
        uint256 eight = _record("claim 8 batches of 16,384 leaves");
        _marginal("claim, each further batch", four, eight, 4, 30_000);
    }

    function _slice(ClaimItem[] memory items, uint256 first, uint256 count)
        private
        pure
        returns (ClaimItem[] memory part)
    {
        part = new ClaimItem[](count);
        for (uint256 i; i < count; ++i) {
            part[i] = items[first + i];
        }
    }

    function test_ChallengeAnswer() external {
        _collectMany(0, 1, 2 * PRICE);
        ClaimItem memory item = _commitDeep(PRICE, PRICE / 100);
        bytes memory packed = _acceptance(ann, item.batch, PRICE / 100);
        vm.prank(stranger);
        settlement.challenge(keeper, packed);
        uint256 challenge = _record("challenge");
        settlement.answer(keeper, ann, item.amount, item.index, item.proof);
        uint256 answer = _record("answer in 16,384 leaves");
        vm.assertLe(answer, challenge, "an attack by challenges costs the attacker no less than the keeper");
    }

    function test_WindDown() external {
        _collectMany(0, 1, 2 * PRICE);
        _commitProviders(1, PRICE);
        _challenge(ann, 1);
        _skip(R + 1);
        settlement.void(keeper, ann);
        _record("void");
        settlement.recover(keeper, _recoveries(0, 1));
        settlement.recover(keeper, _recoveries(1, 1));
        uint256 one = _record("recover 1 voucher");
        settlement.recover(keeper, _recoveries(2, 11));
        _marginal("recover, each further voucher", one, vm.lastCallGas().gasTotalUsed, 10, 45_000);
    }

    /// @dev Accepted vouchers of so many channels, all for one provider.
    function _recoveries(uint256 first, uint256 count) private view returns (bytes memory items) {
        for (uint256 i = first; i < first + count; ++i) {
            Voucher memory v = _voucher(3, 3 * PRICE, bob, PRICE);
            bytes memory item = Signing.recoverItem(messages, domain, 1000 + i, KEEPER_KEY, v, PRICE);
            items = bytes.concat(items, item);
        }
    }

    function test_Lapse() external {
        _skip(W + T + 1);
        settlement.lapse(keeper);
        _record("lapse");
    }
}
