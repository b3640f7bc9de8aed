// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {Channel} from "../../src/types/Channel.sol";
import {KeeperState, KeeperStatus} from "../../src/types/KeeperState.sol";
import {Leaf, ReferenceTree} from "../utils/ReferenceTree.sol";
import {vm} from "../utils/Vm.sol";
import {Held, World} from "./World.sol";

/// @notice Every call to the settlement goes through here, and is checked against the state before it. What the parties
/// know but the contract does not (signed totals, leaves, fee rates read before) is remembered here.
abstract contract Ledger is World {
    using ReferenceTree for Leaf[];
    using ReferenceTree for ReferenceTree.Node[];

    /// @dev Stands for no keeper, in calls that are about none.
    uint256 internal constant NOBODY = KEEPERS;

    struct Before {
        KeeperState keeper;
        uint64 fees;
        uint256 supply;
        uint256 held;
    }

    mapping(uint256 c => uint256) public depositedIn;
    mapping(uint256 c => uint256) public withdrawnFrom;
    /// @dev The highest total that the session key signed, in vouchers of a batch or direct ones.
    mapping(uint256 c => uint64) public signedMost;
    uint256 public donated;

    mapping(uint256 k => Held[]) internal accepted;
    mapping(bytes32 key => uint64) public acceptedMost;
    /// @dev The most that a keeper promised a provider for a batch.
    mapping(uint256 k => mapping(uint32 number => mapping(address provider => uint64))) internal promised;

    mapping(uint256 k => mapping(uint32 number => Leaf[])) private leaves;
    /// @dev The leaves add up to more than the committed sum.
    mapping(uint256 k => mapping(uint32 number => bool)) public isInflated;
    /// @dev Everybody can read the leaves.
    mapping(uint256 k => mapping(uint32 number => bool)) internal isPublished;
    /// @dev The leaf stood in the calldata of an answer: one more than its index.
    mapping(uint256 k => mapping(uint32 number => mapping(address provider => uint256))) internal shownLeaf;

    /// @dev How often each function of the settlement succeeded, to show that a campaign reaches it.
    mapping(bytes4 selector => uint256) public times;

    mapping(uint256 k => bytes32) private prints;
    mapping(uint256 c => uint64) private lastSpent;
    mapping(uint256 k => mapping(uint32 number => bytes32)) private fixedTerms;
    /// @dev One more than the fee rate that could be read for a batch before its first voucher.
    mapping(uint256 k => mapping(uint32 number => uint256)) private rates;

    constructor() {
        for (uint256 k; k < KEEPERS; ++k) {
            prints[k] = _print(k);
        }
    }

    /// @dev Everybody sees the outcome of a step, and a little time may pass before the next one.
    modifier step() {
        _;
        _goOn();
    }

    function _goOn() internal virtual;

    /* CALLS */

    /// @dev A call that may be refused.
    function _try(uint256 k, address from, bytes memory data) internal returns (bool done) {
        (done,) = _send(k, from, data);
    }

    /// @dev A call that nothing may stop.
    function _must(uint256 k, address from, bytes memory data) internal {
        (bool done, bytes memory reason) = _send(k, from, data);
        if (done) return;
        assembly ("memory-safe") {
            revert(add(reason, 0x20), mload(reason))
        }
    }

    /// @dev A call that must be refused.
    function _mustNot(uint256 k, address from, bytes memory data, string memory why) internal {
        vm.assertFalse(_try(k, from, data), why);
    }

    /// @dev A call that pays, made twice: the second time it must pay nothing. Returns what the contract paid.
    function _pay(uint256 k, address from, bytes memory data) internal returns (uint256 amount) {
        amount = token.balanceOf(address(settlement));
        _must(k, from, data);
        amount -= token.balanceOf(address(settlement));
        _paysNothing(k, from, data);
    }

    function _paysNothing(uint256 k, address from, bytes memory data) internal {
        uint256 held = token.balanceOf(address(settlement));
        _try(k, from, data);
        vm.assertEq(token.balanceOf(address(settlement)), held, "13: a repetition or a refused call paid");
    }

    function _send(uint256 k, address from, bytes memory data) private returns (bool done, bytes memory reason) {
        Before memory before;
        if (k != NOBODY) before.keeper = _state(k);
        before.fees = settlement.fees();
        before.supply = token.totalSupply();
        before.held = token.balanceOf(address(settlement));
        vm.prank(from);
        (done, reason) = address(settlement).call(data);
        if (!done) return (done, reason);
        times[bytes4(data)] += 1;
        _checkCall(k, bytes4(data), before);
    }

    /* CHECKS OF EVERY CALL */

    function _checkCall(uint256 k, bytes4 selector, Before memory before) private {
        _check14NoOtherKeeperTouched(k);
        if (k == NOBODY) return;
        KeeperState memory s = _state(k);
        _check1SpentNeverFalls(k, s, selector);
        _check5History(k, before.keeper, s, selector);
        _check11BondFallsByRuleOnly(before, s, selector);
        _check12Fees(k, before, s, selector);
        _check12Rates(k, s);
    }

    /// @dev Nothing changes between two calls, so the others' last prints are still true.
    function _check14NoOtherKeeperTouched(uint256 k) private {
        for (uint256 other; other < KEEPERS; ++other) {
            bytes32 print = _print(other);
            if (other == k) prints[other] = print;
            else vm.assertEq(print, prints[other], "14: another keeper, its channels or batches changed");
        }
    }

    /// @dev Everything stored about a keeper.
    function _print(uint256 k) private view returns (bytes32) {
        KeeperState memory s = _state(k);
        address keeper = keeperAt(k);
        bytes memory all = abi.encode(s, _batch(k, s.batch));
        for (uint256 i; i < 4; ++i) {
            all = bytes.concat(all, abi.encode(_channel(4 * k + i)));
        }
        for (uint256 i; i < PROVIDERS; ++i) {
            address provider = _provider(i);
            uint64 paid = s.batch == 0 ? 0 : settlement.paid(keeper, provider, s.batch - 1);
            all = bytes.concat(all, abi.encode(settlement.challenged(keeper, s.batch, provider), paid));
        }
        return keccak256(all);
    }

    function _check1SpentNeverFalls(uint256 k, KeeperState memory s, bytes4 selector) private {
        bool mayFall = selector == IEscrow.withdraw.selector && s.status == KeeperStatus.WoundDown;
        for (uint256 c = 4 * k; c < 4 * k + 4; ++c) {
            uint64 spent = _channel(c).spent;
            if (!mayFall) vm.assertLe(lastSpent[c], spent, "1: spent fell");
            lastSpent[c] = spent;
        }
    }

    function _check5History(uint256 k, KeeperState memory old, KeeperState memory s, bytes4 selector) private {
        vm.assertLe(old.batch, s.batch, "5: the batch fell");
        vm.assertLe(s.batch, old.batch + 1, "5: the batch rose by more than one");
        if (s.batch > old.batch && old.batch != 0) {
            vm.assertTrue(old.committedAt != 0 && old.open == 0, "5: a batch became final unproven");
            vm.assertLe(uint256(old.committedAt) + W, block.timestamp, "5: a batch became final early");
        }
        if (old.status == KeeperStatus.WoundDown || old.status == KeeperStatus.Closed) {
            vm.assertTrue(s.status == old.status, "5: a terminal state was left");
            vm.assertEq(s.batch, old.batch, "5: a batch became final after the end");
        }
        if (selector == ISettlement.commit.selector) fixedTerms[k][s.batch] = _terms(k, s.batch);
        for (uint32 n = s.batch > 2 ? s.batch - 2 : 1; n <= s.batch; ++n) {
            vm.assertEq(_batch(k, n).committedAt == 0, fixedTerms[k][n] == 0, "5: a batch appeared without commit");
            if (fixedTerms[k][n] == 0) continue;
            vm.assertEq(_terms(k, n), fixedTerms[k][n], "5: a committed batch changed");
        }
    }

    /// @dev All that is stored of a batch is fixed in its commit.
    function _terms(uint256 k, uint32 number) private view returns (bytes32) {
        return keccak256(abi.encode(_batch(k, number)));
    }

    function _check11BondFallsByRuleOnly(Before memory before, KeeperState memory s, bytes4 selector) private view {
        uint256 burned = before.supply - token.totalSupply();
        uint64 bonded = before.keeper.bond;
        if (s.bond >= bonded) {
            vm.assertEq(burned, 0, "11: burned without a forfeit");
        } else if (selector == ISettlement.void.selector || selector == ISettlement.recover.selector) {
            vm.assertEq(s.bond, 0, "11: a forfeit takes all");
            vm.assertEq(burned, bonded - bonded / 10, "11: a forfeit burns nine tenths");
        } else if (selector == ISettlement.lapse.selector) {
            vm.assertEq(bonded - s.bond, bonded / 10, "11: a lapse takes a tenth");
            vm.assertEq(burned, bonded / 10, "11: a lapse burns what it takes");
        } else {
            vm.assertTrue(selector == IEscrow.unbond.selector, "11: a bond fell otherwise");
            vm.assertEq(s.bond, 0, "11: unbond pays all");
            vm.assertEq(before.held - token.balanceOf(address(settlement)), bonded, "11: unbond pays the bond");
        }
    }

    function _check12Fees(uint256 k, Before memory before, KeeperState memory s, bytes4 selector) private view {
        uint64 expected = before.fees;
        if (s.batch > before.keeper.batch) expected += _batch(k, before.keeper.batch).fee;
        uint64 fees = settlement.fees();
        if (selector == ISettlement.redeem.selector) vm.assertLe(expected, fees, "12: a direct payment took fees");
        else vm.assertEq(fees, expected, "12: fees grew by something else than a final batch");
        if (selector != ISettlement.commit.selector) return;
        uint256 fee = uint256(before.keeper.debits) * (rates[k][s.batch] - 1) / BPS;
        vm.assertEq(_batch(k, s.batch).fee, fee, "12: a batch was charged another rate than was readable");
    }

    /// @dev The rate of the batch being filled and of the one after it can be read; neither may change from then on.
    function _check12Rates(uint256 k, KeeperState memory s) private {
        if (s.status != KeeperStatus.Active && s.status != KeeperStatus.Retiring) return;
        uint32 filled = _batch(k, s.batch).committedAt == 0 ? s.batch : s.batch + 1;
        _check12Rate(k, filled, s.feeBps);
        _check12Rate(k, filled + 1, s.nextFeeBps);
    }

    function _check12Rate(uint256 k, uint32 number, uint16 bps) private {
        if (rates[k][number] == 0) rates[k][number] = uint256(bps) + 1;
        else vm.assertEq(bps, rates[k][number] - 1, "12: a batch's rate changed after it could be read");
    }

    function _rate(uint256 k, uint32 number) internal view returns (uint256) {
        return rates[k][number] - 1;
    }

    /* WHAT THE PARTIES KNOW */

    function _signed(Held memory h) internal {
        if (h.total > signedMost[h.channel]) signedMost[h.channel] = h.total;
    }

    function _remember(Held memory h) internal {
        accepted[keeperOf(h.channel)].push(h);
        bytes32 key = keyOf(h.channel, h.provider, h.batch);
        if (h.earned > acceptedMost[key]) acceptedMost[key] = h.earned;
        uint256 k = keeperOf(h.channel);
        if (h.owed > promised[k][h.batch][h.provider]) promised[k][h.batch][h.provider] = h.owed;
    }

    function _fix(uint256 k, uint32 number, Leaf[] memory list, bool inflated, bool published) internal {
        for (uint256 i; i < list.length; ++i) {
            leaves[k][number].push(list[i]);
        }
        isInflated[k][number] = inflated;
        isPublished[k][number] = published;
    }

    function leavesOf(uint256 k, uint32 number) public view returns (Leaf[] memory) {
        return leaves[k][number];
    }

    /// @dev The largest leaf of a provider: one more than its index, 0 if it has none.
    function _largestLeaf(uint256 k, uint32 number, address provider) internal view returns (uint256 at) {
        Leaf[] memory list = leaves[k][number];
        for (uint256 i; i < list.length; ++i) {
            if (list[i].provider == provider && (at == 0 || list[i].amount > list[at - 1].amount)) at = i + 1;
        }
    }

    function _answerCall(uint256 k, uint32 number, uint256 i) internal view returns (bytes memory) {
        Leaf[] memory list = leaves[k][number];
        bytes memory proof = list.nodes().proof(i);
        return abi.encodeCall(ISettlement.answer, (keeperAt(k), list[i].provider, list[i].amount, uint32(i), proof));
    }

    /// @dev A commit of these leaves; one of the sum 0 has no root.
    function _commitCall(Leaf[] memory list, uint64 sum, bytes32 data) internal pure returns (bytes memory) {
        bytes32 root = sum == 0 ? bytes32(0) : list.nodes().root().hash;
        return abi.encodeCall(ISettlement.commit, (root, sum, root, sum / 2, uint32(list.length), data));
    }

    /// @dev What was paid out of a batch to all who can earn in it.
    function paidOf(uint256 k, uint32 number) public view returns (uint256 sum) {
        address keeper = keeperAt(k);
        if (settlement.distributed(keeper, number)) return _batch(k, number).sum;
        for (uint256 i; i <= PROVIDERS; ++i) {
            sum += settlement.paid(keeper, earnerAt(k, i), number);
        }
    }

    /// @dev Spent and not settled, over the channels of the keeper's batch: the left side of invariant 2.
    function unsettledOf(uint256 k) public view returns (uint256 sum) {
        uint32 number = _state(k).batch;
        for (uint256 c = 4 * k; c < 4 * k + 4; ++c) {
            Channel memory ch = _channel(c);
            if (ch.batch == number) sum += ch.spent - ch.settled;
        }
    }
}
