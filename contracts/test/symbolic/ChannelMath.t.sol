// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ChannelMath} from "../../src/libraries/ChannelMath.sol";
import {CompactSignature} from "../../src/libraries/CompactSignature.sol";
import {MessageHash} from "../../src/libraries/MessageHash.sol";
import {Packed} from "../../src/libraries/Packed.sol";
import {VoucherFrame} from "../../src/libraries/VoucherFrame.sol";
import {Channel} from "../../src/types/Channel.sol";

/// @notice The assembly that moves a channel's word, for every word that keeps `settled <= spent <= deposit`, and every
/// total, batch and voucher. `ecrecover` is an unknown function here: whatever it returns is the session key.
contract ChannelMathSymbolicTest {
    using ChannelMath for Channel;
    using ChannelMath for mapping(bytes32 => Channel);
    using Packed for bytes;
    using VoucherFrame for VoucherFrame.Frame;

    uint256 private constant BPS = 100;

    mapping(bytes32 id => Channel) private _channels;

    /// @notice Writing a channel and reading its fields gives the same channel.
    function check_saveIsExact(bytes32 id, Channel calldata c) external {
        _channels[id].save(c);
        _assertChannel(id, c);
    }

    /// @notice A direct payment keeps `settled <= spent <= deposit`, pays out exactly the rise, and touches nothing else.
    function check_payMovesTheRise(bytes32 domain, Voucher calldata v, Channel calldata c, uint32 keeperBatch)
        external
    {
        if (!_isSound(c) || v.batch != 0) return;
        bytes32 id = _channelOf(domain, v);
        if (id == 0) return;
        _channels[id].save(c);
        try this.pay(domain, v.keeper, _item(v), keeperBatch) returns (uint256 amount, uint256 fee) {
            assert(c.spent < v.total && v.total <= c.deposit && amount + fee == v.total - c.spent);
            Channel memory after_ = c;
            after_.settled = c.baseline(keeperBatch) + (v.total - c.spent);
            after_.spent = v.total;
            assert(_isSound(after_));
            _assertChannel(id, after_);
        } catch {
            assert(v.total <= c.spent || v.total > c.deposit);
        }
    }

    /// @notice A debit keeps `settled <= spent <= deposit`, raises `spent` alone, and settles what earlier batches spent.
    function check_debitRaisesSpent(bytes32 domain, Voucher calldata v, Channel calldata c) external {
        // A channel's batch is never above its keeper's.
        if (!_isSound(c) || c.batch > v.batch) return;
        bytes32 id = _channelOf(domain, v);
        if (id == 0) return;
        _channels[id].save(c);
        try this.debit(domain, v.keeper, v.batch, _item(v)) returns (uint256 debits) {
            assert(c.spent < v.total && v.total <= c.deposit && debits == v.total - c.spent);
            Channel memory after_ = c;
            after_.settled = c.baseline(v.batch);
            after_.spent = v.total;
            after_.batch = v.batch;
            assert(_isSound(after_));
            _assertChannel(id, after_);
        } catch {
            assert(v.total <= c.spent || v.total > c.deposit);
        }
    }

    /// @notice A debit of one channel leaves every other channel as it was.
    function check_debitTouchesOneChannel(bytes32 domain, Voucher calldata v, Channel calldata c, bytes32 other)
        external
    {
        bytes32 id = _channelOf(domain, v);
        if (id == 0 || id == other) return;
        _channels[other].save(c);
        try this.debit(domain, v.keeper, v.batch, _item(v)) {} catch {}
        _assertChannel(other, c);
    }

    struct Voucher {
        address payer;
        address keeper;
        uint32 batch;
        uint64 total;
        bytes32 latest;
        bytes32 r;
        bytes32 vs;
    }

    function pay(bytes32 domain, address keeper, bytes calldata items, uint256 keeperBatch)
        external
        returns (uint256, uint256)
    {
        VoucherFrame.Frame frame = VoucherFrame.create(domain, 0);
        frame.setKeeper(keeper);
        (uint256 at, uint256 end) = items.bounds();
        return _channels.payAll(frame, at, end, keeperBatch, BPS);
    }

    function debit(bytes32 domain, address keeper, uint256 batch, bytes calldata items) external returns (uint256) {
        VoucherFrame.Frame frame = VoucherFrame.create(domain, batch);
        frame.setKeeper(keeper);
        (uint256 at, uint256 end) = items.bounds();
        return _channels.debitAll(frame, at, end, batch);
    }

    function _item(Voucher calldata v) private pure returns (bytes memory) {
        return abi.encodePacked(v.payer, v.total, v.latest, v.r, v.vs);
    }

    /// @dev The channel by the readable code path; 0 if nobody signed.
    function _channelOf(bytes32 domain, Voucher calldata v) private view returns (bytes32) {
        bytes32 hash = MessageHash.voucher(v.payer, v.keeper, v.batch, v.total, v.latest);
        address signer = CompactSignature.recover(MessageHash.digest(domain, hash), v.r, v.vs);
        return signer == address(0) ? bytes32(0) : MessageHash.channelId(v.payer, signer, v.keeper);
    }

    function _isSound(Channel memory c) private pure returns (bool) {
        return c.settled <= c.spent && c.spent <= c.deposit;
    }

    function _assertChannel(bytes32 id, Channel memory expected) private view {
        Channel storage c = _channels[id];
        assert(c.deposit == expected.deposit && c.spent == expected.spent && c.settled == expected.settled);
        assert(c.batch == expected.batch && c.thawAt == expected.thawAt);
    }
}
