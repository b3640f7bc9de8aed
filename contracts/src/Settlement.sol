// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";

import {Escrow} from "./Escrow.sol";
import {IComputeToken} from "./interfaces/IComputeToken.sol";
import {ISettlement} from "./interfaces/ISettlement.sol";
import {ChannelMath} from "./libraries/ChannelMath.sol";
import {CompactSignature} from "./libraries/CompactSignature.sol";
import {Fees} from "./libraries/Fees.sol";
import {LeafTransfers} from "./libraries/LeafTransfers.sol";
import {MessageHash} from "./libraries/MessageHash.sol";
import {Packed} from "./libraries/Packed.sol";
import {SumTree} from "./libraries/SumTree.sol";
import {TypeHashes} from "./libraries/TypeHashes.sol";
import {VoucherFrame} from "./libraries/VoucherFrame.sol";
import {Batch, Challenge, ClaimItem} from "./types/Batch.sol";
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
    using SafeTransferLib for address;
    using VoucherFrame for VoucherFrame.Frame;

    uint256 private constant VOUCHER_SIZE = 124;
    uint256 private constant DIRECT_VOUCHER_SIZE = 144;
    uint256 private constant ACCEPTANCE_SIZE = 128;
    uint256 private constant RECOVERY_SIZE = 228;
    uint256 private constant LINE_SIZE = 140;
    /// @dev Where a usage line's amount stands.
    uint256 private constant LINE_AMOUNT = 92;

    /// @dev Payments of one call that go to the same account are added up and sent once.
    struct Payout {
        address to;
        uint256 amount;
    }

    mapping(address keeper => mapping(uint32 number => mapping(address provider => Challenge))) private _challenges;
    /// @dev Four batches to a word.
    mapping(address keeper => mapping(address provider => mapping(uint256 word => uint64[4]))) private _paid;
    /// @dev Two bits for each of 128 batches: something was claimed; everything was distributed.
    mapping(address keeper => mapping(uint256 word => uint256 bits)) private _payouts;
    mapping(bytes32 id => mapping(address provider => mapping(uint32 number => uint64))) private _recovered;

    constructor(IComputeToken token_, Periods memory periods_, Settings memory settings)
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
            sum: sum, fee: fee, linesSum: linesSum, committedAt: time, open: 0, root: root, linesRoot: linesRoot
        });
        k.debits = 0;
        k.since = time;
        k.feeBps = k.nextFeeBps;
        k.nextFeeBps = feeBps;
        emit BatchCommitted(msg.sender, number, root, sum, fee, linesRoot, linesSum, lineCount, dataHash);
    }

    /* CHALLENGE */

    /// @inheritdoc ISettlement
    function challenge(address keeper, bytes calldata acceptance) external {
        if (acceptance.length != ACCEPTANCE_SIZE) revert Packed.MalformedList(acceptance.length, ACCEPTANCE_SIZE);
        (KeeperState storage k, Batch storage b) = _pending(keeper);
        uint32 number = k.batch;
        uint256 end = uint256(b.committedAt) + _challengePeriod;
        if (block.timestamp >= end) revert TooLate(end);
        (address provider, uint64 owed) = _accepted(keeper, acceptance, number);
        Challenge storage c = _challenges[keeper][number][provider];
        if (owed <= c.owed) revert OwedNotAbove(owed, c.owed);

        if (c.deadline == 0) b.open += 1;
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
        (KeeperState storage k, Batch storage b) = _pending(keeper);
        uint32 number = k.batch;
        Challenge storage c = _openChallenge(keeper, number, provider);
        if (block.timestamp > c.deadline) revert TooLate(c.deadline);
        if (amount < c.owed) revert AmountBelowOwed(amount, c.owed);
        _requireLeaf(b, number, provider, amount, index, proof);

        c.deadline = 0;
        b.open -= 1;
        k.since = _now();
        emit Answered(keeper, number, provider);
    }

    /// @inheritdoc ISettlement
    function void(address keeper, address provider) external {
        (KeeperState storage k,) = _pending(keeper);
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
        emit Lapsed(keeper, k.batch, burned);
        _token.burn(burned);
    }

    /* RECOVER */

    /// @inheritdoc ISettlement
    function recover(address keeper, bytes calldata items) external {
        uint256 count = items.count(RECOVERY_SIZE);
        KeeperState storage k = _advance(keeper);
        if (k.status != KeeperStatus.WoundDown) revert WrongKeeperStatus(keeper, k.status);
        uint256 end = uint256(k.woundAt) + _recoveryPeriod;
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
    function redeem(bytes calldata vouchers) external {
        vouchers.count(DIRECT_VOUCHER_SIZE);
        VoucherFrame.Frame frame = VoucherFrame.create(_domainSeparatorV4(), 0);
        (uint256 at, uint256 end) = vouchers.bounds();
        uint256 sum;
        while (at < end) {
            uint256 fee;
            (at, fee) = _redeemRun(at, end, frame, feeBps);
            sum += fee;
        }
        fees += sum.toUint64();
    }

    /// @dev Redeems the vouchers of one keeper that stand together, and pays it. Returns where the next one's begin.
    function _redeemRun(uint256 at, uint256 end, VoucherFrame.Frame frame, uint256 bps)
        private
        returns (uint256, uint256 sumOfFees)
    {
        address keeper = Packed.addressOf(at + 20);
        uint256 number = _advance(keeper).batch;
        frame.setKeeper(keeper);
        uint256 amount;
        // Positions are within calldata, and each rise is at most 64 bits: no sum comes near 2^256.
        unchecked {
            while (at < end && Packed.addressOf(at + 20) == keeper) {
                (bytes32 id, uint256 total) = frame.channelOf(at, 40);
                uint256 rise = _channels.pay(id, total, number);
                uint256 fee = Fees.feeUp(rise, bps);
                emit Redeemed(id, keeper, uint64(rise - fee), uint64(fee));
                sumOfFees += fee;
                amount += rise - fee;
                at += DIRECT_VOUCHER_SIZE;
            }
        }
        address(_token).safeTransfer(keeper, amount);
        return (at, sumOfFees);
    }

    /* PAY OUT */

    /// @inheritdoc ISettlement
    function distribute(address keeper, uint32 number, bytes calldata leaves) external {
        leaves.count(SumTree.LEAF);
        KeeperState storage k = _advance(keeper);
        if (number >= k.batch) revert BatchNotFinal(keeper, number);
        (uint256 word, uint256 claimedBit, uint256 distributedBit) = _payoutBits(number);
        uint256 bits = _payouts[keeper][word];
        if (bits & (claimedBit | distributedBit) != 0) revert AlreadyPaid(keeper, number);
        (bytes32 root, uint256 sum) = SumTree.build(leaves);
        Batch storage b = _batches[keeper][number];
        if (root != b.root || sum != b.sum) revert LeavesMismatch(root, sum);

        _payouts[keeper][word] = bits | distributedBit;
        emit Distributed(keeper, number, uint64(sum));
        LeafTransfers.payAll(address(_token), leaves);
    }

    /// @inheritdoc ISettlement
    function claim(address keeper, address provider, ClaimItem[] calldata items) external {
        uint32 current = _advance(keeper).batch;
        uint256 total;
        for (uint256 i; i < items.length; ++i) {
            total += _claim(keeper, provider, current, items[i]);
        }
        if (total != 0) address(_token).safeTransfer(provider, total);
    }

    function _claim(address keeper, address provider, uint32 current, ClaimItem calldata item)
        private
        returns (uint64 amount)
    {
        uint32 number = item.batch;
        if (number >= current) revert BatchNotFinal(keeper, number);
        (uint256 word, uint256 claimedBit, uint256 distributedBit) = _payoutBits(number);
        uint256 bits = _payouts[keeper][word];
        if (bits & distributedBit != 0) return 0;
        uint64[4] storage lanes = _paid[keeper][provider][number / 4];
        uint64 before = lanes[number % 4];
        if (item.amount <= before) return 0;
        _requireLeaf(_batches[keeper][number], number, provider, item.amount, item.index, item.proof);

        lanes[number % 4] = item.amount;
        if (bits & claimedBit == 0) _payouts[keeper][word] = bits | claimedBit;
        amount = item.amount - before;
        emit Claimed(keeper, provider, number, amount);
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
        return SumTree.proves(b.linesRoot, b.linesSum, keccak256(line), line.uint64At(LINE_AMOUNT), index, proof);
    }

    /// @inheritdoc ISettlement
    function paid(address keeper, address provider, uint32 number) external view returns (uint64) {
        return _paid[keeper][provider][number / 4][number % 4];
    }

    /// @inheritdoc ISettlement
    function distributed(address keeper, uint32 number) external view returns (bool) {
        (uint256 word,, uint256 distributedBit) = _payoutBits(number);
        return _payouts[keeper][word] & distributedBit != 0;
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

    /// @dev The keeper's pending batch: committed and not final, of a live keeper.
    function _pending(address keeper) private returns (KeeperState storage k, Batch storage b) {
        k = _advance(keeper);
        _requireLive(keeper, k);
        b = _batches[keeper][k.batch];
        if (b.committedAt == 0) revert BatchNotPending(keeper, k.batch);
    }

    function _openChallenge(address keeper, uint32 number, address provider)
        private
        view
        returns (Challenge storage c)
    {
        c = _challenges[keeper][number][provider];
        if (c.deadline == 0) revert NotChallenged(keeper, number, provider);
    }

    function _requireLeaf(
        Batch storage b,
        uint32 number,
        address provider,
        uint64 amount,
        uint32 index,
        bytes calldata proof
    ) private view {
        bytes32 leaf = SumTree.leafHash(provider, amount);
        if (!SumTree.proves(b.root, b.sum, leaf, amount, index, proof)) revert LeafNotProven(number, provider, amount);
    }

    function _requireKeeper(address keeper, bytes32 hash, bytes32 domain, bytes32 r, bytes32 vs) private view {
        address signer = _signer(domain, hash, r, vs);
        if (signer != keeper) revert NotSignedByKeeper(signer, keeper);
    }

    function _signer(bytes32 domain, bytes32 structHash, bytes32 r, bytes32 vs) private view returns (address signer) {
        signer = CompactSignature.recover(MessageHash.digest(domain, structHash), r, vs);
        if (signer == address(0)) revert InvalidSignature();
    }

    function _payoutBits(uint32 number)
        private
        pure
        returns (uint256 word, uint256 claimedBit, uint256 distributedBit)
    {
        word = number / 128;
        claimedBit = 1 << ((number % 128) * 2);
        distributedBit = claimedBit << 1;
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
        if (payout.amount != 0) address(_token).safeTransfer(payout.to, payout.amount);
    }
}
