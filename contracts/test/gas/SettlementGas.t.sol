// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Voucher} from "../../src/types/Messages.sol";
import {ClaimItem, ClaimItems} from "../utils/ClaimItems.sol";
import {Signing} from "../utils/Signing.sol";
import {vm} from "../utils/Vm.sol";
import {GasFixture} from "./GasFixture.sol";

/// @notice What every call costs that has no bar of its own.
/// forge-config: default.isolate = true
contract SettlementGasTest is GasFixture {
    uint256 private constant CHANNELS = 15;

    function setUp() public override {
        super.setUp();
        _bond();
        _openMany(keeper, CHANNELS);
        _collectMany(0, CHANNELS, PRICE);
        bytes memory packed = _commitProviders(0, 1, CHANNELS * PRICE);
        _skip(W);
        settlement.distribute(keeper, 1, packed);
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

    function test_Batch() external {
        _collectMany(0, 1, 2 * PRICE);
        _record("collect 1 channel");
        bytes memory leaves = _commitProviders(0, 1, PRICE);
        _skip(W);
        _heartbeat();
        _record("commit, heartbeat");
        settlement.distribute(keeper, 2, leaves);
        _record("distribute 1 leaf");
    }

    function test_ClaimFirst() external {
        ClaimItem memory item = _deepBatch(14, 2 * PRICE);
        settlement.claim(keeper, ann, ClaimItems.pack(item));
        _record("claim 1 batch of 16,384 leaves, provider's first payment");
    }

    function test_WindDown() external {
        _collectMany(0, 1, 2 * PRICE);
        _commitProviders(0, 1, PRICE);
        _challenge(ann, 1);
        _skip(R + 1);
        settlement.void(keeper, ann);
        _record("void");
        settlement.recover(keeper, _recoveries(0, 1));
        settlement.recover(keeper, _recoveries(1, 1));
        uint256 one = _record("recover 1 voucher");
        settlement.recover(keeper, _recoveries(2, 11));
        _record("Settlement", "recover, each further voucher", (_gas() - one) / 10);
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

    function test_Bond() external {
        vm.prank(keeper);
        settlement.bond(BOND, bondOwner);
        _record("bond, added");
        vm.prank(bondOwner);
        settlement.retire(keeper);
        _record("retire");
        _skip(U);
        vm.prank(bondOwner);
        settlement.unbond(keeper);
        _record("unbond");
        settlement.sweepFees();
        _record("sweepFees");
    }
}
