// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {ClaimItem, ClaimItems} from "../utils/ClaimItems.sol";
import {Signing} from "../utils/Signing.sol";
import {vm} from "../utils/Vm.sol";
import {GasFixture} from "./GasFixture.sol";

/// @notice The rows of the gas table, one snapshot each.
/// forge-config: default.isolate = true
contract BarsTest is GasFixture {
    bytes32 private constant PERMIT =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
    uint256 private constant PAYER_KEY = 0xba7e5;
    uint256 private constant CHANNELS = 51;
    /// @dev The provider that direct channels lead to.
    address private immutable _redeemer = _provider(1000);

    function setUp() public override {
        super.setUp();
        _bond();
        _openMany(keeper, CHANNELS);
        _openMany(_redeemer, CHANNELS);
        // A round before the one that is measured, so that no party's first payment is counted.
        _collectMany(0, CHANNELS, PRICE);
        bytes memory packed = _commitProviders(0, 50, CHANNELS * PRICE);
        _skip(W);
        settlement.distribute(keeper, 1, packed);
        settlement.redeem(_redeemer, _vouchers(_redeemer, 0, 0, CHANNELS, PRICE));
    }

    function _bar(string memory row, uint256 value) private {
        _record("Bars", row, value);
    }

    /// @dev Rounded up.
    function _marginal(string memory row, uint256 one, uint256 many, uint256 further) private {
        vm.assertGt(many, one, row);
        _bar(row, (many - one + further - 1) / further);
    }

    /// @notice The measure itself: a transfer of ether, and a cleared slot with its refund, computed by hand.
    function test_Calibration() external {
        (bool sent,) = stranger.call{value: 1}("");
        vm.assertEq(_gas(), 21_000, "transfer of ether");
        // sstore(0, calldataload(0))
        address store = address(0x570e);
        vm.etch(store, hex"5f355f55");
        (bool set,) = store.call(abi.encode(1));
        // 31 zero bytes and one of 16 gas; three cheap operations (7); a cold new slot (22,100).
        vm.assertEq(_gas(), 21_000 + 31 * 4 + 16 + 7 + 22_100, "new slot");
        (bool cleared,) = store.call(abi.encode(0));
        // A cold slot reset to zero costs 5,000 and gives back 4,800, which is less than a fifth of the whole.
        vm.assertEq(_gas(), 21_000 + 32 * 4 + 7 + 5000 - 4800, "cleared slot");
        vm.assertTrue(sent && set && cleared, "calls succeed");
    }

    function test_Collect() external {
        uint256 one = _collectMany(0, 1, 2 * PRICE);
        _commitProviders(0, 1, PRICE);
        _skip(W);
        // Writes that batch down as final, which is no part of a further channel's cost.
        _collectMany(0, 1, 3 * PRICE);
        _commitProviders(0, 1, PRICE);
        _skip(W);
        one = _collectMany(0, 1, 4 * PRICE);
        _commitProviders(0, 1, PRICE);
        _skip(W);
        uint256 many = _collectMany(0, CHANNELS, 5 * PRICE);
        _marginal("collect_marginal", one, many, CHANNELS - 1);

        // 1 and 9 vouchers are padded alike.
        uint256 length = abi.encodeCall(ISettlement.collect, (_vouchers(keeper, 2, 0, 1, PRICE))).length;
        uint256 lengthOfNine = abi.encodeCall(ISettlement.collect, (_vouchers(keeper, 2, 0, 9, PRICE))).length;
        _marginal("collect_bytes", length, lengthOfNine, 8);
    }

    function test_Commit() external {
        _collectMany(0, 1, 2 * PRICE);
        _commitProviders(0, 50, PRICE);
        _bar("commit_fixed", _gas());
    }

    function test_Distribute() external {
        _collectMany(0, 1, 2 * PRICE);
        bytes memory first = _commitProviders(0, 1, PRICE);
        _skip(W);
        _collectMany(0, 1, 3 * PRICE);
        bytes memory second = _commitProviders(0, 50, PRICE);
        _skip(W);
        _heartbeat();
        settlement.distribute(keeper, 2, first);
        uint256 one = _gas();
        settlement.distribute(keeper, 3, second);
        _marginal("distribute_marginal", one, _gas(), 49);
    }

    function test_Redeem() external {
        bytes memory first = _vouchers(_redeemer, 0, 0, 1, 2 * PRICE);
        bytes memory others = _vouchers(_redeemer, 0, 1, 50, 2 * PRICE);
        settlement.redeem(_redeemer, first);
        uint256 one = _gas();
        settlement.redeem(_redeemer, others);
        _marginal("redeem_marginal", one, _gas(), 49);
    }

    function test_ChallengeAndAnswer() external {
        _collectMany(0, 1, 2 * PRICE);
        ClaimItem memory item = _commitDeep(14, PRICE, PRICE / 100);
        bytes memory packed = _acceptance(ann, item.batch, PRICE / 100);
        vm.prank(stranger);
        settlement.challenge(keeper, packed);
        uint256 challenge = _gas();
        _bar("challenge", challenge);
        settlement.answer(keeper, ann, item.amount, item.index, item.proof);
        _bar("answer", _gas());
        vm.assertLe(_gas(), challenge, "an attack by challenges costs the attacker no less than the keeper");
    }

    /// @notice One batch each, in a word of paid amounts that is in use. Batches 4 to 7 share one.
    function test_ClaimOne() external {
        _deepBatch(14, 2 * PRICE);
        _deepBatch(14, 3 * PRICE);
        ClaimItem memory before = _deepBatch(14, 4 * PRICE);
        ClaimItem memory small = _deepBatch(10, 5 * PRICE);
        ClaimItem memory large = _deepBatch(20, 6 * PRICE);
        vm.assertEq(before.batch, 4, "batch");
        _heartbeat();
        settlement.claim(keeper, ann, ClaimItems.pack(before));
        settlement.claim(keeper, ann, ClaimItems.pack(small));
        _bar("claim_2e10", _gas());
        settlement.claim(keeper, ann, ClaimItems.pack(large));
        _bar("claim_2e20", _gas());
    }

    /// @notice What four batches add to a claim of four, all of 16,384 leaves: the four come with a word of paid amounts of
    /// their own, whose first use (17,100 gas) is thus spread over them, as it is for a provider that claims every batch.
    function test_ClaimNext() external {
        _deepBatch(14, 2 * PRICE);
        ClaimItem memory before = _deepBatch(14, 3 * PRICE);
        ClaimItem[] memory four = new ClaimItem[](4);
        for (uint64 i; i < 4; ++i) {
            four[i] = _deepBatch(14, (i + 4) * PRICE);
        }
        ClaimItem[] memory eight = new ClaimItem[](8);
        for (uint64 i; i < 8; ++i) {
            eight[i] = _deepBatch(14, (i + 8) * PRICE);
        }
        vm.assertEq(four[0].batch, 4, "batch");
        _heartbeat();
        settlement.claim(keeper, ann, ClaimItems.pack(before));
        settlement.claim(keeper, ann, ClaimItems.pack(four));
        uint256 ofFour = _gas();
        settlement.claim(keeper, ann, ClaimItems.pack(eight));
        _marginal("claim_next", ofFour, _gas(), 4);
    }

    /// @notice The first deposit of a payer, and a later one into the same channel.
    function test_OpenWithPermit() external {
        address payer = vm.addr(PAYER_KEY);
        vm.prank(client);
        token.transfer(payer, 3 * DEPOSIT);
        _openWithPermit(payer);
        _bar("open_first", _gas());
        _openWithPermit(payer);
        _bar("open_later", _gas());
    }

    function _openWithPermit(address payer) private {
        uint256 deadline = block.timestamp + 3600;
        bytes32 hash = keccak256(abi.encode(PERMIT, payer, address(settlement), DEPOSIT, token.nonces(payer), deadline));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(PAYER_KEY, Signing.digest(token.DOMAIN_SEPARATOR(), hash));
        vm.prank(payer);
        settlement.openWithPermit(session, keeper, DEPOSIT, deadline, v, r, s);
    }
}
