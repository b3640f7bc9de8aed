// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Settlement} from "../../src/Settlement.sol";
import {Fees} from "../../src/libraries/Fees.sol";
import {SumTree} from "../../src/libraries/SumTree.sol";
import {Acceptance, Allocation, Offer, Order, Receipt, Usage, Voucher} from "../../src/types/Messages.sol";
import {Harness} from "../utils/Harness.sol";
import {ReferenceTree} from "../utils/ReferenceTree.sol";
import {SettlementFixture} from "../utils/SettlementFixture.sol";
import {Signing} from "../utils/Signing.sol";
import {vm} from "../utils/Vm.sol";

/// @notice The golden vectors beside this file, which the Rust implementation wrote and reads too.
contract VectorsTest is SettlementFixture {
    Harness private harness = new Harness();

    string private json;
    /// @dev Key of the message being read, such as `.messages[3].message`.
    string private at;

    /* READING */

    function _read(string memory name) private {
        json = vm.readFile(string.concat("contracts/test/vectors/", name, ".json"));
    }

    function _u64(string memory key) private view returns (uint64) {
        return uint64(vm.parseJsonUint(json, string.concat(at, key)));
    }

    function _u32(string memory key) private view returns (uint32) {
        return uint32(vm.parseJsonUint(json, string.concat(at, key)));
    }

    function _address(string memory key) private view returns (address) {
        return vm.parseJsonAddress(json, string.concat(at, key));
    }

    function _word(string memory key) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(at, key));
    }

    function _bytes(string memory key) private view returns (bytes memory) {
        return vm.parseJsonBytes(json, string.concat(at, key));
    }

    function _element(string memory list, uint256 i) private pure returns (string memory) {
        return string.concat(list, "[", vm.toString(i), "]");
    }

    function _length(string memory list) private view returns (uint256 count) {
        while (vm.keyExistsJson(json, string.concat(at, _element(list, count)))) ++count;
    }

    /* MESSAGES */

    function _allocation(string memory prefix) private view returns (Allocation memory) {
        return Allocation({
            provider: _address(string.concat(prefix, ".provider")),
            earned: _u64(string.concat(prefix, ".earned")),
            receipt: _word(string.concat(prefix, ".receipt"))
        });
    }

    function _order() private view returns (Order memory) {
        return Order({
            payer: _address(".payer"),
            resource: _u32(".resource"),
            maxPrice: _u64(".maxPrice"),
            maxUnits: _u64(".maxUnits"),
            maxTotal: _u64(".maxTotal"),
            spec: _word(".spec"),
            terms: _word(".terms"),
            expiry: _u64(".expiry"),
            salt: vm.parseJsonUint(json, string.concat(at, ".salt"))
        });
    }

    function _offer() private view returns (Offer memory) {
        return Offer({
            provider: _address(".provider"),
            resource: _u32(".resource"),
            price: _u64(".price"),
            capacity: _u64(".capacity"),
            terms: _word(".terms"),
            expiry: _u64(".expiry"),
            salt: vm.parseJsonUint(json, string.concat(at, ".salt"))
        });
    }

    function _receipt() private view returns (Receipt memory) {
        return Receipt({
            job: _word(".job"),
            provider: _address(".provider"),
            sequence: _u64(".sequence"),
            usage: _word(".usage"),
            amount: _u64(".amount"),
            result: _word(".result"),
            at: _u64(".at")
        });
    }

    function _structHash(bytes32 name) private view returns (bytes32) {
        if (name == keccak256("Usage")) {
            return messages.hashUsage(
                Usage({
                    gpuMs: _u64(".gpuMs"),
                    cpuMs: _u64(".cpuMs"),
                    memoryMibS: _u64(".memoryMibS"),
                    bytesIn: _u64(".bytesIn"),
                    bytesOut: _u64(".bytesOut"),
                    fuel: _u64(".fuel"),
                    work: _u64(".work"),
                    leaseS: _u64(".leaseS")
                })
            );
        }
        if (name == keccak256("Order")) return messages.hashOrder(_order());
        if (name == keccak256("Offer")) return messages.hashOffer(_offer());
        if (name == keccak256("Receipt")) return messages.hashReceipt(_receipt());
        if (name == keccak256("Allocation")) return messages.hashAllocation(_allocation(""));
        if (name == keccak256("Voucher")) {
            Allocation memory latest = _allocation(".latest");
            return messages.hashVoucher(
                Voucher(_address(".payer"), _address(".keeper"), _u32(".batch"), _u64(".total"), latest)
            );
        }
        vm.assertEq(name, keccak256("Acceptance"), "a type that this test does not know");
        return
            messages.hashAcceptance(Acceptance(_word(".voucher"), _address(".provider"), _u32(".batch"), _u64(".owed")));
    }

    function test_Messages() external {
        _read("messages");
        uint256 count = _length(".messages");
        vm.assertEq(count, 7, "every type");
        bytes32 separator = _word(".domain.separator");
        address signer = _address(".signer");
        for (uint256 i; i < count; ++i) {
            string memory message = _element(".messages", i);
            string memory name = vm.parseJsonString(json, string.concat(message, ".type"));
            at = string.concat(message, ".message");
            bytes32 hash = _structHash(keccak256(bytes(name)));
            at = message;
            vm.assertEq(hash, _word(".structHash"), name);
            bytes32 digest = Signing.digest(separator, hash);
            vm.assertEq(digest, _word(".digest"), name);
            bytes memory signature = _bytes(".signature");
            vm.assertEq(signature.length, 64, name);
            (bytes32 r, bytes32 vs) = abi.decode(signature, (bytes32, bytes32));
            vm.assertEq(harness.recover(digest, r, vs), signer, name);
            at = "";
        }
    }

    /// @dev The settlement at the vectors' address and chain, with the vectors' keeper in the voucher's batch.
    function _place(address payer, address keeper_, address signer) private returns (Settlement placed) {
        placed = Settlement(_address(".domain.verifyingContract"));
        vm.etch(address(placed), address(settlement).code);
        vm.chainId(_u64(".domain.chainId"));
        vm.startPrank(client);
        token.transfer(payer, DEPOSIT);
        token.transfer(keeper_, DEPOSIT);
        vm.startPrank(payer);
        token.approve(address(placed), DEPOSIT);
        vm.startPrank(keeper_);
        token.approve(address(placed), DEPOSIT);
        placed.bond(DEPOSIT, bondOwner);
        vm.startPrank(payer);
        placed.open(signer, keeper_, DEPOSIT);
        vm.startPrank(keeper_);
        for (uint256 n = 1; n < _u32(".messages[5].message.batch"); ++n) {
            placed.commit(0, 0, 0, 0, 0, 0);
            _skip(W);
        }
        vm.stopPrank();
    }

    /// @dev The packed voucher that the Rust implementation made is collected by the contract itself.
    function test_PackedVoucher() external {
        _read("messages");
        bytes32 id = _word(".channel.id");
        address keeper_ = _address(".channel.keeper");
        Settlement placed = _place(_address(".channel.payer"), keeper_, _address(".channel.signer"));
        vm.assertEq(placed.domainSeparator(), _word(".domain.separator"), "domain separator");
        vm.assertEq(
            placed.channelId(_address(".channel.payer"), _address(".channel.signer"), keeper_), id, "channel id"
        );
        uint64 total = _u64(".messages[5].message.total");
        bytes memory debit = _bytes(".debit");
        vm.prank(keeper_);
        placed.collect(debit);
        vm.assertEq(placed.channel(id).spent, total, "collected");
    }

    /// @dev So is the packed direct voucher redeemed: signed for batch 0, with the provider as its own keeper.
    function test_PackedRedemption() external {
        _read("messages");
        address payer = _address(".channel.payer");
        address provider = _address(".messages[5].message.latest.provider");
        Settlement placed = _place(payer, _address(".channel.keeper"), _address(".channel.signer"));
        vm.startPrank(client);
        token.transfer(payer, DEPOSIT);
        vm.startPrank(payer);
        token.approve(address(placed), DEPOSIT);
        placed.open(_address(".channel.signer"), provider, DEPOSIT);
        vm.stopPrank();
        placed.redeem(provider, _bytes(".redemption"));
        uint64 total = _u64(".messages[5].message.total");
        vm.assertEq(placed.channel(_word(".channel.directId")).spent, total, "redeemed");
        vm.assertEq(token.balanceOf(provider), total, "paid to the provider, with no fee set here");
    }

    /* TREES */

    function test_Node() external {
        _read("trees");
        ReferenceTree.Node memory parent = ReferenceTree.parent(
            ReferenceTree.Node(_word(".node.left.hash"), _u64(".node.left.sum")),
            ReferenceTree.Node(_word(".node.right.hash"), _u64(".node.right.sum"))
        );
        vm.assertEq(parent.hash, _word(".node.parent.hash"), "hash");
        vm.assertEq(parent.sum, _u64(".node.parent.sum"), "sum");
    }

    function test_Trees() external {
        _read("trees");
        uint256 count = _length(".trees");
        vm.assertGt(count, 4, "trees");
        for (uint256 i; i < count; ++i) {
            at = _element(".trees", i);
            _checkTree();
            at = "";
        }
    }

    function _checkTree() private view {
        bytes32 root = _word(".root");
        uint64 sum = _u64(".sum");
        bytes memory packed;
        uint256 count = _length(".leaves");
        for (uint256 i; i < count; ++i) {
            address provider = _address(_element(".providers", i));
            uint64 amount = _u64(_element(".amounts", i));
            packed = bytes.concat(packed, abi.encodePacked(provider, amount));
            bytes32 leaf = SumTree.leafHash(provider, amount);
            vm.assertEq(leaf, _word(_element(".leaves", i)), "leaf");
            bytes memory proof = _bytes(_element(".proofs", i));
            vm.assertTrue(harness.proves(root, sum, leaf, amount, uint32(i), proof), "proof");
        }
        (bytes32 built, uint256 builtSum) = harness.build(packed);
        vm.assertEq(built, root, "root");
        vm.assertEq(builtSum, sum, "sum");
    }

    function test_Batch() external {
        _read("batch");
        uint64 sum = _u64(".commitment.sum");
        uint64 fee = _u64(".commitment.fee");
        vm.assertEq(fee, Fees.feeDown(_u64(".debits"), uint16(_u64(".feeBps"))), "fee");
        vm.assertEq(sum + fee, _u64(".debits"), "sum and fee");
        vm.assertEq(keccak256(_bytes(".file")), _word(".commitment.dataHash"), "data hash");
        (bytes32 root, uint256 builtSum) = harness.build(_bytes(".leaves"));
        vm.assertEq(root, _word(".commitment.root"), "root");
        vm.assertEq(builtSum, sum, "sum");

        uint256 count = _length(".lines");
        vm.assertEq(count, _u64(".commitment.lineCount"), "lines");
        for (uint256 i; i < count; ++i) {
            bytes memory record = _bytes(_element(".lines", i));
            vm.assertEq(record.length, 140, "line");
            bytes memory proof = _bytes(_element(".lineProofs", i));
            bool proven = harness.proves(
                _word(".commitment.linesRoot"),
                _u64(".commitment.linesSum"),
                keccak256(record),
                _amount(record),
                uint32(i),
                proof
            );
            vm.assertTrue(proven, "line's proof");
        }
    }

    /// @dev Bytes 92 to 99 of a line.
    function _amount(bytes memory record) private pure returns (uint64 amount) {
        for (uint256 i = 92; i < 100; ++i) {
            amount = (amount << 8) | uint8(record[i]);
        }
    }
}
