// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ProviderRegistry} from "../../src/ProviderRegistry.sol";
import {ResourceCatalog} from "../../src/ResourceCatalog.sol";
import {Allocation, Order, Receipt, Usage, Voucher} from "../../src/types/Messages.sol";
import {RegistrySettings} from "../../src/types/Stake.sol";
import {ClaimItem, ClaimItems} from "../utils/ClaimItems.sol";
import {Leaf, ReferenceTree} from "../utils/ReferenceTree.sol";
import {SettlementFixture} from "../utils/SettlementFixture.sol";
import {Signing} from "../utils/Signing.sol";
import {vm} from "../utils/Vm.sol";

/// @notice One job from its order to its provider's wallet, with every message on the way.
contract OrderToPayoutTest is SettlementFixture {
    using ReferenceTree for Leaf[];
    using ReferenceTree for ReferenceTree.Node[];

    uint256 private constant WORKER_KEY = 0x303;
    /// @dev 20 CAPA an hour, for 90 s of a GPU: 0.5 CAPA.
    uint64 private constant PRICE = 20 * CAPA;
    uint64 private constant QUANTITY = 90_000;
    uint64 private constant AMOUNT = CAPA / 2;
    /// @dev What the keeper asks for its own work.
    uint64 private constant KEEPER_FEE = 1000;

    ProviderRegistry private registry;
    ResourceCatalog private catalog;
    uint32 private gpu;

    function setUp() public override {
        super.setUp();
        registry = new ProviderRegistry(address(token), governor, RegistrySettings(address(0), CAPA, 200, 100, 1000));
        catalog = new ResourceCatalog(governor);
        vm.prank(governor);
        gpu = catalog.add("gpu.h200", "GPU-ms", 3_600_000, 100_000);
        vm.prank(ann);
        registry.register("https://ann.example", "https://ann.example/terms", keccak256("terms"));
        address worker = vm.addr(WORKER_KEY);
        (bytes32 r, bytes32 vs) = vm.signCompact(WORKER_KEY, registry.consentDigest(ann, worker));
        vm.prank(ann);
        registry.addWorker(worker, abi.encodePacked(r, vs));
        _start();
    }

    function _job() private view returns (bytes32) {
        return messages.hashOrder(
            Order({
                payer: client,
                resource: gpu,
                maxPrice: PRICE,
                maxUnits: 100_000,
                maxTotal: CAPA,
                spec: keccak256("spec"),
                terms: keccak256("terms"),
                expiry: uint64(block.timestamp + 60),
                salt: 1
            })
        );
    }

    function _receipt(bytes32 job) private view returns (bytes32) {
        Usage memory used =
            Usage({gpuMs: QUANTITY, cpuMs: 12, memoryMibS: 34, bytesIn: 56, bytesOut: 78, fuel: 0, work: 0, leaseS: 0});
        return messages.hashReceipt(
            Receipt({
                job: job,
                provider: ann,
                sequence: 1,
                usage: messages.hashUsage(used),
                amount: AMOUNT,
                result: keccak256("result"),
                at: uint64(block.timestamp)
            })
        );
    }

    function _line(bytes32 job) private view returns (bytes memory) {
        return
            abi.encodePacked(
                job, client, ann, gpu, QUANTITY, PRICE, AMOUNT, uint64(block.timestamp), keccak256("result")
            );
    }

    /// @dev The session key pays the receipt, the keeper, and the protocol fee rounded up; the keeper collects it.
    function _payFor(bytes32 job) private returns (uint64 total) {
        uint64 rise = AMOUNT + KEEPER_FEE;
        total = uint64((uint256(rise) * 10_000 + (10_000 - FEE_BPS) - 1) / (10_000 - FEE_BPS));
        Voucher memory v = Voucher({
            payer: client,
            keeper: keeper,
            batch: 1,
            total: total,
            latest: Allocation({provider: ann, earned: AMOUNT, receipt: _receipt(job)})
        });
        bytes memory item = Signing.collectItem(messages, domain, SESSION_KEY, v);
        vm.prank(keeper);
        settlement.collect(item);
    }

    function test_OneJob() external {
        uint256 supply = token.totalSupply();
        bytes32 job = _job();
        vm.assertEq(uint256(QUANTITY) * PRICE / catalog.resourceClass(gpu).scale, AMOUNT, "priced by the catalog");

        uint64 total = _payFor(job);
        uint64 sum = total - total * FEE_BPS / 10_000;
        Leaf[] memory leaves = _leaves(ann, AMOUNT, keeper, sum - AMOUNT);
        ReferenceTree.Node memory line = ReferenceTree.line(_line(job), AMOUNT);
        bytes memory record = _line(job);
        vm.prank(keeper);
        settlement.commit(leaves.nodes().root().hash, sum, line.hash, AMOUNT, 1, keccak256(record));

        // Ann demands the proof, the keeper answers.
        _challenge(ann, AMOUNT);
        settlement.answer(keeper, ann, AMOUNT, 0, leaves.nodes().proof(0));
        _skip(W);
        vm.assertTrue(settlement.verifyLine(keeper, 1, record, 0, ""), "the trade is proven");

        ClaimItem[] memory items = new ClaimItem[](1);
        items[0] = ClaimItem({batch: 1, amount: AMOUNT, index: 0, proof: leaves.nodes().proof(0)});
        vm.prank(stranger);
        settlement.claim(keeper, ann, ClaimItems.pack(items));
        items[0] = ClaimItem({batch: 1, amount: sum - AMOUNT, index: 1, proof: leaves.nodes().proof(1)});
        uint256 before = token.balanceOf(keeper);
        settlement.claim(keeper, keeper, ClaimItems.pack(items));
        settlement.sweepFees();

        vm.assertEq(token.balanceOf(ann), AMOUNT, "the provider is paid");
        uint256 keeperFee = token.balanceOf(keeper) - before;
        vm.assertLe(KEEPER_FEE, keeperFee, "the keeper is paid");
        vm.assertEq(_channel().spent, AMOUNT + keeperFee + token.balanceOf(treasury), "the client's debit, to the nano");
        vm.assertEq(token.totalSupply(), supply, "the supply is unchanged");
        vm.assertEq(token.balanceOf(address(settlement)), BOND + DEPOSIT - total, "nothing else is held");
    }

    function test_TheSameJobDirectly() external {
        vm.prank(client);
        settlement.open(session, ann, DEPOSIT);
        uint64 total = uint64((uint256(AMOUNT) * 10_000 + (10_000 - FEE_BPS) - 1) / (10_000 - FEE_BPS));
        Voucher memory v = Voucher({
            payer: client,
            keeper: ann,
            batch: 0,
            total: total,
            latest: Allocation({provider: ann, earned: AMOUNT, receipt: _receipt(_job())})
        });
        settlement.redeem(ann, Signing.collectItem(messages, domain, SESSION_KEY, v));
        vm.assertLe(AMOUNT - 1, token.balanceOf(ann), "the provider is paid at once");
        vm.assertEq(token.balanceOf(ann) + settlement.fees(), total, "the client's debit, to the nano");
    }
}
