// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../interfaces/ISettlement.sol";
import {Channel} from "../types/Channel.sol";
import {Fees} from "./Fees.sol";
import {VoucherFrame} from "./VoucherFrame.sol";

/// @title ChannelMath: what a channel has paid out, and its storage word
/// @dev The word holds, from the low end: deposit 64, spent 64, settled 64, batch 32, thawAt 32.
library ChannelMath {
    using VoucherFrame for VoucherFrame.Frame;

    /// @dev Deposit and thaw time: what a debit leaves alone.
    uint256 private constant DEBIT_KEEPS = 0xffffffff0000000000000000000000000000000000000000ffffffffffffffff;
    /// @dev Deposit, batch and thaw time: what a direct payment leaves alone.
    uint256 private constant PAYMENT_KEEPS = 0xffffffffffffffff00000000000000000000000000000000ffffffffffffffff;

    /// @notice What has left the channel for good. A channel whose batch is below its keeper's has been paid out up to
    /// `spent`, though nobody has written it down.
    function baseline(Channel memory self, uint32 keeperBatch) internal pure returns (uint64) {
        return self.batch < keeperBatch ? self.spent : self.settled;
    }

    /// @notice Raises what the channels of packed vouchers (124 bytes each) have spent to the vouchers' totals, on account of
    /// the keeper's open batch. Returns the sum of the rises.
    /// @dev Loop and assembly in one place, because this is what a keeper pays for per client: one load, one store.
    function debitAll(
        mapping(bytes32 => Channel) storage channels,
        VoucherFrame.Frame frame,
        uint256 at,
        uint256 end,
        uint256 keeperBatch
    ) internal returns (uint256 debits) {
        // Positions are within calldata, and each rise is at most 64 bits: neither sum comes near 2^256.
        for (; at < end;) {
            (bytes32 id, uint256 total) = frame.channelOf(at);
            uint256 word;
            bool refused;
            assembly ("memory-safe") {
                mstore(0x00, id)
                mstore(0x20, channels.slot)
                let slot := keccak256(0x00, 0x40)
                word := sload(slot)
                let spent := shr(192, shl(128, word))
                refused := or(gt(total, shr(192, shl(192, word))), iszero(gt(total, spent)))
                debits := add(debits, sub(total, spent))
                // The first debit in a batch: everything before it has been paid out.
                let settled := spent
                if eq(and(shr(192, word), 0xffffffff), keeperBatch) { settled := shr(192, shl(64, word)) }
                sstore(
                    slot,
                    or(or(and(word, DEBIT_KEEPS), shl(64, total)), or(shl(128, settled), shl(192, keeperBatch)))
                )
                at := add(at, 124)
            }
            // Reverting undoes the store.
            if (refused) _refuse(id, word, total);
        }
    }

    /// @notice Raises what direct channels have spent to their vouchers' totals and counts the rises as paid out.
    /// Returns what is due to the keeper and to the protocol.
    function payAll(
        mapping(bytes32 => Channel) storage channels,
        VoucherFrame.Frame frame,
        uint256 at,
        uint256 end,
        uint256 keeperBatch,
        uint256 bps
    ) internal returns (uint256 amount, uint256 sumOfFees) {
        address keeper = frame.keeper();
        bytes32 topic = ISettlement.Redeemed.selector;
        // Positions are within calldata, and each rise is at most 64 bits: no sum comes near 2^256.
        unchecked {
            for (; at < end; at += 124) {
                (bytes32 id, uint256 total) = frame.channelOf(at);
                uint256 rise = _pay(channels, id, total, keeperBatch);
                uint256 fee = Fees.feeUp(rise, bps);
                // `Redeemed`, with its data in scratch space.
                assembly ("memory-safe") {
                    mstore(0x00, sub(rise, fee))
                    mstore(0x20, fee)
                    log3(0x00, 0x40, topic, id, keeper)
                }
                sumOfFees += fee;
                amount += rise;
            }
            amount -= sumOfFees;
        }
    }

    /// @dev What is settled never exceeds what is spent, so the addition below stays within its 64 bits.
    function _pay(mapping(bytes32 => Channel) storage channels, bytes32 id, uint256 total, uint256 keeperBatch)
        private
        returns (uint256 rise)
    {
        uint256 word;
        bool refused;
        assembly ("memory-safe") {
            mstore(0x00, id)
            mstore(0x20, channels.slot)
            let slot := keccak256(0x00, 0x40)
            word := sload(slot)
            let spent := shr(192, shl(128, word))
            refused := or(gt(total, shr(192, shl(192, word))), iszero(gt(total, spent)))
            rise := sub(total, spent)
            let settled := shr(192, shl(64, word))
            if lt(and(shr(192, word), 0xffffffff), keeperBatch) { settled := spent }
            settled := add(settled, rise)
            sstore(slot, or(or(and(word, PAYMENT_KEEPS), shl(64, total)), shl(128, settled)))
        }
        // Reverting undoes the store.
        if (refused) _refuse(id, word, total);
    }

    /// @notice Writes a channel in one store; field by field would read and write the word five times.
    function save(Channel storage self, Channel memory value) internal {
        uint256 word = uint256(value.deposit) | (uint256(value.spent) << 64) | (uint256(value.settled) << 128)
            | (uint256(value.batch) << 192) | (uint256(value.thawAt) << 224);
        assembly ("memory-safe") {
            sstore(self.slot, word)
        }
    }

    /// @dev A voucher must be signed and add something, and what it adds must be there.
    function _refuse(bytes32 id, uint256 word, uint256 total) private pure {
        if (id == 0) revert ISettlement.InvalidSignature();
        if (total > uint64(word)) revert ISettlement.TotalAboveDeposit(id, uint64(total), uint64(word));
        revert ISettlement.TotalNotAbove(id, uint64(total), uint64(word >> 64));
    }
}
