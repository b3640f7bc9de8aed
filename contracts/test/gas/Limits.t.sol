// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {Voucher} from "../../src/types/Messages.sol";
import {ClaimItem, ClaimItems} from "../utils/ClaimItems.sol";
import {Signing} from "../utils/Signing.sol";
import {vm} from "../utils/Vm.sol";
import {GasFixture} from "./GasFixture.sol";

/// @notice The longest list that each list form is documented to take, at its worst: every provider is paid for the first
/// time. Each fits one transaction.
/// forge-config: default.isolate = true
contract LimitsTest is GasFixture {
    uint256 private constant COLLECT = 900;
    uint256 private constant REDEEM = 900;
    uint256 private constant DISTRIBUTE = 500;
    uint256 private constant RECOVER = 180;
    uint256 private constant CLAIM = 150;

    function setUp() public override {
        super.setUp();
        _bond();
    }

    function _fits(string memory list, bytes memory data) private {
        uint256 bytes_ = data.length + ENVELOPE;
        uint256 gas = _record(list);
        _record("Settlement", string.concat(list, ", bytes"), bytes_);
        vm.assertLe(gas, MAX_GAS, "gas of one transaction");
        vm.assertLe(bytes_, MAX_BYTES, "bytes of one transaction");
    }

    function test_Collect() external {
        _openMany(keeper, COLLECT);
        bytes memory items = _vouchers(keeper, 1, 0, COLLECT, PRICE);
        vm.prank(keeper);
        settlement.collect(items);
        _fits("collect 900 channels", abi.encodeCall(ISettlement.collect, (items)));
    }

    function test_Redeem() external {
        address redeemer = _provider(0);
        _openMany(redeemer, REDEEM);
        bytes memory items = _vouchers(redeemer, 0, 0, REDEEM, PRICE);
        settlement.redeem(redeemer, items);
        _fits("redeem 900 vouchers", abi.encodeCall(ISettlement.redeem, (redeemer, items)));
    }

    function test_Distribute() external {
        _openMany(keeper, 1);
        _collectMany(0, 1, PRICE);
        bytes memory leaves = _commitProviders(0, DISTRIBUTE, PRICE);
        _skip(W);
        settlement.distribute(keeper, 1, leaves);
        _fits("distribute 500 leaves to new holders", abi.encodeCall(ISettlement.distribute, (keeper, 1, leaves)));
    }

    function test_Recover() external {
        _openMany(keeper, RECOVER);
        _lapse();
        bytes[] memory items = new bytes[](RECOVER);
        for (uint256 i; i < RECOVER; ++i) {
            Voucher memory v = _voucher(1, PRICE, _provider(i), PRICE / 2);
            items[i] = Signing.recoverItem(messages, domain, 1000 + i, KEEPER_KEY, v, PRICE / 2);
        }
        bytes memory joined = _join(items);
        settlement.recover(keeper, joined);
        _fits("recover 180 vouchers to new holders", abi.encodeCall(ISettlement.recover, (keeper, joined)));
        vm.assertEq(token.balanceOf(_provider(RECOVER - 1)), PRICE / 2, "recovered");
    }

    function test_Claim() external {
        _openMany(keeper, 1);
        ClaimItem[] memory items = new ClaimItem[](CLAIM);
        for (uint64 i; i < CLAIM; ++i) {
            if (i % 75 == 0) {
                vm.prank(client);
                settlement.open(vm.addr(1000), keeper, 75 * PRICE);
            }
            items[i] = _deepBatch(20, (i + 1) * PRICE);
        }
        bytes[] memory packed = new bytes[](CLAIM);
        for (uint256 i; i < CLAIM; ++i) {
            packed[i] = ClaimItems.pack(items[i]);
        }
        bytes memory joined = _join(packed);
        settlement.claim(keeper, ann, joined);
        _fits("claim 150 batches of 2^20 leaves", abi.encodeCall(ISettlement.claim, (keeper, ann, joined)));
        vm.assertEq(token.balanceOf(ann), CLAIM * uint256(PRICE / 100), "claimed");
    }
}
