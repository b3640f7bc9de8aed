// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";

import {Escrow} from "./Escrow.sol";
import {ISettlement} from "./interfaces/ISettlement.sol";
import {ChannelMath} from "./libraries/ChannelMath.sol";
import {CompactSignature} from "./libraries/CompactSignature.sol";
import {Fees} from "./libraries/Fees.sol";
import {LeafTransfers} from "./libraries/LeafTransfers.sol";
import {MessageHash} from "./libraries/MessageHash.sol";
import {Packed} from "./libraries/Packed.sol";
import {PaymentLog} from "./libraries/PaymentLog.sol";
import {SumTree} from "./libraries/SumTree.sol";
import {TokenMoves} from "./libraries/TokenMoves.sol";
import {TypeHashes} from "./libraries/TypeHashes.sol";
import {VoucherFrame} from "./libraries/VoucherFrame.sol";
import {WordMap} from "./libraries/WordMap.sol";
import {Batch, Challenge} from "./types/Batch.sol";
import {Channel} from "./types/Channel.sol";
import {KeeperState, KeeperStatus} from "./types/KeeperState.sol";
import {Periods, Settings} from "./types/Settings.sol";

/// @title Settlement
/// @notice Turns signed vouchers into payments: by batches of a keeper, or directly.
contract Settlement is ISettlement, Escrow, EIP712 {
    using ChannelMath for Channel;
    using ChannelMath for mapping(bytes32 => Channel);
    using Packed for bytes;
    using SafeCast for uint256;
    using PaymentLog for PaymentLog.Log;
    using SafeTransferLib for address;
    using TokenMoves for address;
    using VoucherFrame for VoucherFrame.Frame;
    using WordMap for WordMap.Map;

    uint256 private constant VOUCHER_SIZE = 124;
    uint256 private constant ACCEPTANCE_SIZE = 128;
    uint256 private constant RECOVERY_SIZE = 228;
    uint256 private constant LINE_SIZE = 140;
    /// @dev Where a usage line's amount stands.
    uint256 private constant LINE_AMOUNT = 92;
    /// @dev Bytes of a claim's item before its proof: batch 4, amount 8, index 4, depth 1.
    uint256 private constant CLAIM_HEAD = 17;

    /// @dev Something of the batch was claimed.
    uint256 private constant CLAIMED = 1;
    /// @dev The whole batch was distributed.
    uint256 private constant DISTRIBUTED = 2;

    /// @dev Payments of one call that go to the same account are added up and sent once.
    struct Payout {
        address to;
        uint256 amount;
    }

    /// @dev What the items of one claim share.
    struct Claim {
        address keeper;
        address provider;
        uint256 current;
        WordMap.Map payouts;
        WordMap.Map paid;
        PaymentLog.Log log;
    }

    mapping(address keeper => mapping(uint32 number => mapping(address provider => Challenge))) private _challenges;
    /// @dev Four batches to a word, the lowest number in the lowest 64 bits.
    mapping(address keeper => mapping(address provider => mapping(uint256 word => uint256 amounts))) private _paid;
    /// @dev Two bits, CLAIMED or DISTRIBUTED, for each of 128 batches.
    mapping(address keeper => mapping(uint256 word => uint256 bits)) private _payouts;
    mapping(bytes32 id => mapping(address provider => mapping(uint32 number => uint64))) private _recovered;

    constructor(address token_, Periods memory periods_, Settings memory settings)
        Escrow(token_, periods_, settings)
        EIP712(TypeHashes.DOMAIN_NAME, TypeHashes.DOMAIN_VERSION)
    {}

    /* COLLECT */

    /// @inheritdoc ISettlement
    function collect(bytes calldata vouchers) external {
        uint256 count = vouchers.count(VOUCHER_SIZE);
        KeeperState storage k = _advance(msg.sender);
        _requireLive(msg.sender, k);
        _requireNothingPending(msg.sender, k);

        uint256 number = k.batch;
        VoucherFrame.Frame frame = VoucherFrame.create(_domainSeparatorV4(), number);
        frame.setKeeper(msg.sender);
        (uint256 at, uint256 end) = vouchers.bounds();
        uint64 sum = _channels.debitAll(frame, at, end, number).toUint64();
        k.debits += sum;
        emit Collected(msg.sender, uint32(number), sum, uint32(count));
    }

    /* COMMIT */

    /// @inheritdoc ISettlement
    function commit(bytes32 root, uint64 sum, bytes32 linesRoot, uint64 linesSum, uint32 lineCount, bytes32 dataHash)
        external
    {
        KeeperState storage k = _advance(msg.sender);
        _requireLive(msg.sender, k);
        _requireNothingPending(msg.sender, k);
        uint64 fee = Fees.feeDown(k.debits, k.feeBps);
        if (sum != k.debits - fee) revert SumMismatch(sum, k.debits - fee);
        if (linesSum > sum) revert LinesAboveSum(linesSum, sum);

        uint32 number = k.batch;
        uint32 time = _now();
        _batches[msg.sender][number] = Batch({
            sum: sum,
            fee: fee,
            linesSum: linesSum,
            committedAt: time,
            earnings: SumTree.commitment(root, sum),
            lines: SumTree.commitment(linesRoot, linesSum)
        });
        k.debits = 0;
        k.since = time;
        k.committedAt = time;
        k.feeBps = k.nextFeeBps;
        k.nextFeeBps = feeBps;
        emit BatchCommitted(msg.sender, number, root, sum, fee, linesRoot, linesSum, lineCount, dataHash);
    }

    /* CHALLENGE */

    /// @inheritdoc ISettlement
    function challenge(address keeper, bytes calldata acceptance) external {
        if (acceptance.length != ACCEPTANCE_SIZE) revert Packed.MalformedList(acceptance.length, ACCEPTANCE_SIZE);
        KeeperState storage k = _pending(keeper);
        uint32 number = k.batch;
        uint256 end = uint256(k.committedAt) + _challengePeriod;
        if (block.timestamp >= end) revert TooLate(end);
        (address provider, uint64 owed) = _accepted(keeper, acceptance, number);
        Challenge storage c = _challenges[keeper][number][provider];
        // A keeper that missed a deadline could otherwise buy itself another one with its own signature.
        if (c.deadline != 0 && block.timestamp > c.deadline) revert TooLate(c.deadline);
        if (owed <= c.owed) revert OwedNotAbove(owed, c.owed);

        if (c.deadline == 0) k.open += 1;
        uint32 deadline = _now() + _answerPeriod;
        c.owed = owed;
        c.deadline = deadline;
        emit Challenged(keeper, number, provider, owed, deadline);
    }

    /// @dev Checks an acceptance and its signature.
    function _accepted(address keeper, bytes calldata acceptance, uint32 number)
        private
        view
        returns (address provider, uint64 owed)
    {
        provider = acceptance.addressAt(32);
        // A payment to the zero address fails, so nobody could ever void such a challenge.
        if (provider == address(0)) revert ZeroAddress();
        if (acceptance.uint32At(52) != number) revert WrongBatch(acceptance.uint32At(52), number);
        owed = acceptance.uint64At(56);
        bytes32 hash = MessageHash.acceptance(acceptance.bytes32At(0), provider, number, owed);
        _requireKeeper(keeper, hash, _domainSeparatorV4(), acceptance.bytes32At(64), acceptance.bytes32At(96));
    }

    /// @inheritdoc ISettlement
    function answer(address keeper, address provider, uint64 amount, uint32 index, bytes calldata proof) external {
        KeeperState storage k = _pending(keeper);
        uint32 number = k.batch;
        Challenge storage c = _openChallenge(keeper, number, provider);
        if (block.timestamp > c.deadline) revert TooLate(c.deadline);
        if (amount < c.owed) revert AmountBelowOwed(amount, c.owed);
        bytes32 leaf = SumTree.leafHash(provider, amount);
        bytes32 committed = _batches[keeper][number].earnings;
        if (!SumTree.proves(committed, leaf, amount, index, proof)) revert LeafNotProven(number, provider, amount);

        c.deadline = 0;
        k.open -= 1;
        k.since = _now();
        emit Answered(keeper, number, provider);
    }

    /// @inheritdoc ISettlement
    function void(address keeper, address provider) external {
        KeeperState storage k = _pending(keeper);
        uint32 number = k.batch;
        Challenge storage c = _openChallenge(keeper, number, provider);
        _requireReached(uint256(c.deadline) + 1);

        _windDown(k);
        (, uint64 burned) = _forfeit(k, provider);
        emit BatchVoided(keeper, number, provider, burned);
    }

    /// @inheritdoc ISettlement
    function lapse(address keeper) external {
        KeeperState storage k = _advance(keeper);
        _requireLive(keeper, k);
        _requireNothingPending(keeper, k);
        _requireReached(uint256(k.since) + _heartbeatPeriod + 1);

        _windDown(k);
        k.debits = 0;
        uint64 burned = k.bond / BOND_SHARE;
        k.bond -= burned;
        // The event comes last: what the caller's gas leaves after a burn that ran out of it cannot pay for an event.
        _token.destroy(burned);
        emit Lapsed(keeper, k.batch, burned);
    }

    /* RECOVER */

    /// @inheritdoc ISettlement
    function recover(address keeper, bytes calldata items) external {
        uint256 count = items.count(RECOVERY_SIZE);
        KeeperState storage k = _advance(keeper);
        if (k.status != KeeperStatus.WoundDown) revert WrongKeeperStatus(keeper, k.status);
        uint256 end = uint256(k.endedAt) + _recoveryPeriod;
        if (block.timestamp >= end) revert TooLate(end);

        bytes32 domain = _domainSeparatorV4();
        Payout memory payout;
        for (uint256 i; i < count; ++i) {
            _recover(keeper, k, items[i * RECOVERY_SIZE:], domain, payout);
        }
        _pay(payout);
    }

    function _recover(address keeper, KeeperState storage k, bytes calldata item, bytes32 domain, Payout memory payout)
        private
    {
        uint32 number = item.uint32At(20);
        if (number < k.batch) revert WrongBatch(number, k.batch);
        address provider = item.addressAt(32);
        bytes32 id = _acceptedChannel(keeper, item, domain);
        uint64 before = _recovered[id][provider][number];
        uint64 earned = item.uint64At(52);
        if (earned <= before) return;

        (uint64 amount, bool short) = _settle(id, k.batch, item.uint64At(24), earned - before);
        _recovered[id][provider][number] = before + amount;
        emit Recovered(id, provider, number, amount);
        _add(payout, provider, amount);
        if (short && k.bond != 0) {
            (uint64 rewarded, uint64 burned) = _forfeit(k, provider);
            emit BondForfeited(keeper, provider, rewarded, burned);
        }
    }

    /// @dev Checks both signatures of a recovery item and returns the channel whose session key signed the voucher.
    function _acceptedChannel(address keeper, bytes calldata item, bytes32 domain) private view returns (bytes32) {
        bytes32 voucher = _voucherHash(keeper, item);
        address signer = _signer(domain, voucher, item.bytes32At(92), item.bytes32At(124));
        bytes32 hash = MessageHash.acceptance(voucher, item.addressAt(32), item.uint32At(20), item.uint64At(156));
        _requireKeeper(keeper, hash, domain, item.bytes32At(164), item.bytes32At(196));
        return channelId(item.addressAt(0), signer, keeper);
    }

    function _voucherHash(address keeper, bytes calldata item) private pure returns (bytes32) {
        bytes32 latest = MessageHash.allocation(item.addressAt(32), item.uint64At(52), item.bytes32At(60));
        return MessageHash.voucher(item.addressAt(0), keeper, item.uint32At(20), item.uint64At(24), latest);
    }

    /// @dev Takes up to `wanted` from what the channel has spent and not paid out. A voucher that exceeds the deposit
    /// counts as the deposit.
    function _settle(bytes32 id, uint32 number, uint64 total, uint64 wanted)
        private
        returns (uint64 amount, bool short)
    {
        Channel memory c = _channels[id];
        // A signature by no session key names a channel that does not exist; it must not cost the keeper its bond.
        if (c.deposit == 0) revert ChannelEmpty(id);
        c.settled = c.baseline(number);
        c.batch = number;
        uint64 covered = total < c.deposit ? total : c.deposit;
        if (covered > c.spent) c.spent = covered;
        uint64 left = c.spent - c.settled;
        short = wanted > left;
        amount = short ? left : wanted;
        c.settled += amount;
        _channels[id].save(c);
    }

    /* REDEEM */

    /// @inheritdoc ISettlement
    function redeem(address keeper, bytes calldata vouchers) external {
        vouchers.count(VOUCHER_SIZE);
        KeeperState storage k = _advance(keeper);
        // A direct voucher on a channel whose vouchers a keeper accepts for its batches would spend what it promised on.
        // Only the keeper itself, which has the money in hand and the batch to fill, may do that.
        if (k.status != KeeperStatus.None && msg.sender != keeper) revert NotTheKeeper(msg.sender, keeper);
        VoucherFrame.Frame frame = VoucherFrame.create(_domainSeparatorV4(), 0);
        frame.setKeeper(keeper);
        (uint256 at, uint256 end) = vouchers.bounds();
        (uint256 amount, uint256 sumOfFees) = _channels.payAll(frame, at, end, k.batch, feeBps);
        fees += sumOfFees.toUint64();
        _token.safeTransfer(keeper, amount);
    }

    /* PAY OUT */

    /// @inheritdoc ISettlement
    function distribute(address keeper, uint32 number, bytes calldata leaves) external {
        leaves.count(SumTree.LEAF);
        KeeperState storage k = _advance(keeper);
        if (number >= k.batch) revert BatchNotFinal(keeper, number);
        if (_payout(keeper, number) != 0) revert AlreadyPaid(keeper, number);
        (bytes32 root, uint256 sum) = SumTree.build(leaves);
        Batch storage b = _batches[keeper][number];
        if (SumTree.commitment(root, sum) != b.earnings) revert LeavesMismatch(root, sum);

        _setPayout(keeper, number, DISTRIBUTED);
        emit Distributed(keeper, number, uint64(sum));
        LeafTransfers.payAll(_token, leaves);
    }

    /// @inheritdoc ISettlement
    function claim(address keeper, address provider, bytes calldata items) external {
        Claim memory c;
        c.keeper = keeper;
        c.provider = provider;
        c.current = _advance(keeper).batch;
        (uint256 at, uint256 end) = items.bounds();
        if (at == end) revert ClaimTruncated(0);
        c.payouts = WordMap.from(_payouts[keeper]);
        c.paid = WordMap.from(_paid[keeper][provider]);
        c.log = PaymentLog.create();
        uint256 total;
        // Positions are within calldata, and each amount is at most 64 bits: neither sum comes near 2^256.
        unchecked {
            while (at < end) {
                uint256 next = at + CLAIM_HEAD + Packed.uint8Of(at + 16) * SumTree.NODE;
                if (next > end) revert ClaimTruncated(items.length - (end - at));
                total += _claim(c, at);
                at = next;
            }
        }
        if (total == 0) return;
        c.log.send(keeper, provider, total);
        _token.safeTransfer(provider, total);
    }

    /// @dev Works off one item. Returns what it pays.
    function _claim(Claim memory c, uint256 at) private returns (uint256 rise) {
        uint256 number = Packed.uint32Of(at);
        if (number >= c.current) revert BatchNotFinal(c.keeper, uint32(number));
        uint256 payoutSlot = c.payouts.slot(number / 128);
        uint256 payouts = WordMap.load(payoutSlot);
        uint256 shift = (number % 128) * 2;
        if ((payouts >> shift) & DISTRIBUTED != 0) return 0;
        uint256 paidSlot = c.paid.slot(number / 4);
        uint256 amounts = WordMap.load(paidSlot);
        uint256 amount = Packed.uint64Of(at + 4);
        rise = uint64(amounts >> ((number % 4) * 64));
        if (amount <= rise) return 0;
        _requireLeaf(c, at, number, amount);

        // The new amount is above the old one and within 64 bits, so it changes its own lane only.
        unchecked {
            rise = amount - rise;
            WordMap.store(paidSlot, amounts + (rise << ((number % 4) * 64)));
        }
        if ((payouts >> shift) & CLAIMED == 0) WordMap.store(payoutSlot, payouts | (CLAIMED << shift));
        c.log.push(number, rise);
    }

    function _requireLeaf(Claim memory c, uint256 at, uint256 number, uint256 amount) private view {
        bytes32 committed = _batches[c.keeper][uint32(number)].earnings;
        bytes32 leaf = SumTree.leafHash(c.provider, amount);
        uint256 index = Packed.uint32Of(at + 12);
        if (!SumTree.provesPacked(committed, leaf, amount, index, at + CLAIM_HEAD, Packed.uint8Of(at + 16))) {
            revert LeafNotProven(uint32(number), c.provider, uint64(amount));
        }
    }

    /* VIEWS */

    /// @inheritdoc ISettlement
    function verifyLine(address keeper, uint32 number, bytes calldata line, uint32 index, bytes calldata proof)
        external
        view
        returns (bool)
    {
        if (line.length != LINE_SIZE || !isFinal(keeper, number)) return false;
        Batch storage b = _batches[keeper][number];
        return SumTree.proves(b.lines, keccak256(line), line.uint64At(LINE_AMOUNT), index, proof);
    }

    /// @inheritdoc ISettlement
    function paid(address keeper, address provider, uint32 number) external view returns (uint64) {
        return uint64(_paid[keeper][provider][number / 4] >> ((number % 4) * 64));
    }

    /// @inheritdoc ISettlement
    function distributed(address keeper, uint32 number) external view returns (bool) {
        return _payout(keeper, number) & DISTRIBUTED != 0;
    }

    /// @inheritdoc ISettlement
    function recovered(bytes32 id, address provider, uint32 number) external view returns (uint64) {
        return _recovered[id][provider][number];
    }

    /// @inheritdoc ISettlement
    function challenged(address keeper, uint32 number, address provider) external view returns (Challenge memory) {
        return _challenges[keeper][number][provider];
    }

    /// @inheritdoc ISettlement
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /* INTERNAL */

    /// @dev A live keeper whose batch is committed and not final.
    function _pending(address keeper) private returns (KeeperState storage k) {
        k = _advance(keeper);
        _requireLive(keeper, k);
        if (k.committedAt == 0) revert BatchNotPending(keeper, k.batch);
    }

    function _openChallenge(address keeper, uint32 number, address provider)
        private
        view
        returns (Challenge storage c)
    {
        c = _challenges[keeper][number][provider];
        if (c.deadline == 0) revert NotChallenged(keeper, number, provider);
    }

    function _requireKeeper(address keeper, bytes32 hash, bytes32 domain, bytes32 r, bytes32 vs) private view {
        address signer = _signer(domain, hash, r, vs);
        if (signer != keeper) revert NotSignedByKeeper(signer, keeper);
    }

    function _signer(bytes32 domain, bytes32 structHash, bytes32 r, bytes32 vs) private view returns (address signer) {
        signer = CompactSignature.recover(MessageHash.digest(domain, structHash), r, vs);
        if (signer == address(0)) revert InvalidSignature();
    }

    /// @dev How a batch has been paid so far: 0, CLAIMED or DISTRIBUTED.
    function _payout(address keeper, uint256 number) private view returns (uint256) {
        return (_payouts[keeper][number / 128] >> ((number % 128) * 2)) & (CLAIMED | DISTRIBUTED);
    }

    /// @dev Only ever called while it is 0.
    function _setPayout(address keeper, uint256 number, uint256 payout) private {
        _payouts[keeper][number / 128] |= payout << ((number % 128) * 2);
    }

    function _add(Payout memory payout, address to, uint64 amount) private {
        if (to != payout.to) {
            _pay(payout);
            payout.to = to;
            payout.amount = 0;
        }
        payout.amount += amount;
    }

    function _pay(Payout memory payout) private {
        if (payout.amount != 0) _token.safeTransfer(payout.to, payout.amount);
    }
}
