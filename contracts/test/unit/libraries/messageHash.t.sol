// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Messages} from "../../../src/Messages.sol";
import {Acceptance, Allocation, Offer, Order, Receipt, Usage, Voucher} from "../../../src/types/Messages.sol";
import {Harness} from "../../utils/Harness.sol";
import {Signing} from "../../utils/Signing.sol";
import {vm} from "../../utils/Vm.sol";

contract MessageHashTest {
    string private constant ALLOCATION = "Allocation(address provider,uint64 earned,bytes32 receipt)";

    Messages private messages = new Messages();
    Harness private packed = new Harness();

    function testFuzz_Allocation(Allocation calldata m) external view {
        bytes32 hash = keccak256(abi.encode(keccak256(bytes(ALLOCATION)), m.provider, m.earned, m.receipt));
        vm.assertEq(messages.hashAllocation(m), hash, "readable");
        vm.assertEq(packed.allocation(m.provider, m.earned, m.receipt), hash, "packed");
    }

    function testFuzz_Voucher(Voucher calldata m) external view {
        bytes32 typeHash = keccak256(
            bytes.concat(
                "Voucher(address payer,address keeper,uint32 batch,uint64 total,Allocation latest)", bytes(ALLOCATION)
            )
        );
        bytes32 latest = messages.hashAllocation(m.latest);
        bytes32 hash = keccak256(abi.encode(typeHash, m.payer, m.keeper, m.batch, m.total, latest));
        vm.assertEq(messages.hashVoucher(m), hash, "readable");
        vm.assertEq(packed.voucher(m.payer, m.keeper, m.batch, m.total, latest), hash, "packed");
    }

    function testFuzz_Acceptance(Acceptance calldata m) external view {
        bytes32 typeHash = keccak256("Acceptance(bytes32 voucher,address provider,uint32 batch,uint64 owed)");
        bytes32 hash = keccak256(abi.encode(typeHash, m.voucher, m.provider, m.batch, m.owed));
        vm.assertEq(messages.hashAcceptance(m), hash, "readable");
        vm.assertEq(packed.acceptance(m.voucher, m.provider, m.batch, m.owed), hash, "packed");
    }

    function testFuzz_Usage(Usage calldata m) external view {
        bytes32 typeHash = keccak256(
            "Usage(uint64 gpuMs,uint64 cpuMs,uint64 memoryMibS,uint64 bytesIn,uint64 bytesOut,uint64 fuel,uint64 work,uint64 leaseS)"
        );
        bytes32 hash = keccak256(
            abi.encode(typeHash, m.gpuMs, m.cpuMs, m.memoryMibS, m.bytesIn, m.bytesOut, m.fuel, m.work, m.leaseS)
        );
        vm.assertEq(messages.hashUsage(m), hash, "usage");
    }

    function testFuzz_Receipt(Receipt calldata m) external view {
        bytes32 typeHash = keccak256(
            "Receipt(bytes32 job,address provider,uint64 sequence,bytes32 usage,uint64 amount,bytes32 result,uint64 at)"
        );
        bytes32 hash = keccak256(abi.encode(typeHash, m.job, m.provider, m.sequence, m.usage, m.amount, m.result, m.at));
        vm.assertEq(messages.hashReceipt(m), hash, "receipt");
    }

    function testFuzz_Offer(Offer calldata m) external view {
        bytes32 typeHash = keccak256(
            "Offer(address provider,uint32 resource,uint64 price,uint64 capacity,bytes32 terms,uint64 expiry,uint256 salt)"
        );
        bytes32 hash =
            keccak256(abi.encode(typeHash, m.provider, m.resource, m.price, m.capacity, m.terms, m.expiry, m.salt));
        vm.assertEq(messages.hashOffer(m), hash, "offer");
    }

    function testFuzz_Order(Order calldata m) external view {
        bytes32 typeHash = keccak256(
            "Order(address payer,uint32 resource,uint64 maxPrice,uint64 maxUnits,uint64 maxTotal,bytes32 spec,bytes32 terms,uint64 expiry,uint256 salt)"
        );
        bytes memory head = abi.encode(typeHash, m.payer, m.resource, m.maxPrice, m.maxUnits, m.maxTotal);
        bytes memory tail = abi.encode(m.spec, m.terms, m.expiry, m.salt);
        vm.assertEq(messages.hashOrder(m), keccak256(bytes.concat(head, tail)), "order");
    }

    function testFuzz_Digest(bytes32 domain, bytes32 structHash) external view {
        vm.assertEq(packed.digest(domain, structHash), Signing.digest(domain, structHash), "digest");
    }

    function testFuzz_Recover(uint256 key, bytes32 digest) external view {
        key = 1 + key % 1e60;
        (bytes32 r, bytes32 vs) = vm.signCompact(key, digest);
        vm.assertEq(packed.recover(digest, r, vs), vm.addr(key), "signer");
        vm.assertEq(packed.recover(digest, 0, vs), address(0), "nobody");
        bytes32 high = bytes32(uint256(0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1));
        vm.assertEq(packed.recover(digest, r, high), address(0), "high s");
    }

    function testFuzz_ChannelsOf(bytes32 domain, uint256 seed, address keeper, uint32 batch) external view {
        bytes memory items;
        bytes32[] memory expected = new bytes32[](4);
        for (uint256 i; i < 4; ++i) {
            uint256 word = uint256(keccak256(abi.encode(seed, i)));
            Voucher memory v = Voucher({
                payer: address(uint160(word)),
                keeper: keeper,
                batch: batch,
                total: uint64(word >> 192),
                latest: Allocation({provider: keeper, earned: uint64(word), receipt: bytes32(word)})
            });
            uint256 key = 1 + word % 1e60;
            items = bytes.concat(items, Signing.collectItem(messages, domain, key, v));
            expected[i] = keccak256(abi.encode(v.payer, vm.addr(key), keeper));
        }
        (bytes32[] memory ids, uint256[] memory totals) = packed.channelsOf(domain, keeper, batch, items);
        for (uint256 i; i < 4; ++i) {
            vm.assertEq(ids[i], expected[i], "channel");
            vm.assertEq(totals[i], uint64(uint256(keccak256(abi.encode(seed, i))) >> 192), "total");
        }
    }
}
