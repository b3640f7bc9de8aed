// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {Channel} from "../../src/types/Channel.sol";
import {KeeperState, KeeperStatus} from "../../src/types/KeeperState.sol";
import {Calls} from "../utils/Calls.sol";
import {vm} from "../utils/Vm.sol";
import {Sequencer} from "./Sequencer.sol";
import {Held} from "./World.sol";

/// @notice Payers and their session keys. Client 0 signs by section 9; client 1 signs anything, with or against a keeper.
abstract contract Clients is Sequencer {
    /// @dev The one voucher of an honest session key that its keeper has not answered; total 0 where there is none.
    mapping(uint256 c => Held) private inFlight;
    mapping(uint256 c => uint64) private riseInFlight;
    mapping(uint256 c => uint64) private lastSigned;
    mapping(uint256 c => uint32) private lastBatch;
    mapping(bytes32 key => uint64) private lastAccepted;

    /* PAYERS */

    function open(uint256 c, uint64 amount) external step {
        c %= CHANNELS;
        (address payer, address signer, address keeper) = _parties(c);
        KeeperStatus status = _state(keeperOf(c)).status;
        amount = 1 + amount % 1e12;
        bytes memory data = abi.encodeCall(IEscrow.open, (signer, keeper, amount));
        if (isPaused || (status != KeeperStatus.None && status != KeeperStatus.Active)) {
            _mustNot(keeperOf(c), payer, data, "a deposit was taken that must not be");
        } else {
            _must(keeperOf(c), payer, data);
            depositedIn[c] += amount;
        }
    }

    function close(uint256 c, uint256 chance) external step {
        c %= CHANNELS;
        // An honest client stays for a while.
        if (_isHonestClient(c) && chance % 4 != 0) return;
        _close(c);
        if (!_isHonestClient(c) && keeperOf(c) != HONEST) _signLast(c, uint64(chance >> 8) % 1e9);
    }

    /// @dev A last voucher for the batch after the open one, accepted while others still see the channel open.
    function _signLast(uint256 c, uint64 rise) private {
        uint256 k = keeperOf(c);
        if (!_isLive(k)) return;
        Held memory h = Held(c, _number(k) + 1, _channel(c).deposit, _provider(HONEST), 0, 0);
        h.earned = acceptedMost[keyOf(c, h.provider, h.batch)] + 1 + rise;
        h.owed = promised[k][h.batch][h.provider] + h.earned;
        _signed(h);
        _remember(h);
        _count(h);
    }

    function _close(uint256 c) internal {
        (address payer, address signer, address keeper) = _parties(c);
        Channel memory ch = _channel(c);
        if (ch.deposit == 0 || ch.thawAt != 0) return;
        _must(keeperOf(c), payer, abi.encodeCall(IEscrow.close, (signer, keeper)));
        closedAt[c] = block.timestamp;
    }

    function withdraw(uint256 c) external step {
        _withdraw(c % CHANNELS);
    }

    function _withdraw(uint256 c) internal {
        (address payer, address signer, address keeper) = _parties(c);
        uint256 k = keeperOf(c);
        bytes memory data = abi.encodeCall(IEscrow.withdraw, (signer, keeper));
        if (!_isWithdrawable(k, _channel(c).thawAt)) {
            _mustNot(k, payer, data, "a withdrawal came too early");
            return;
        }
        uint256 before = token.balanceOf(payer);
        uint256 paid = _pay(k, payer, data);
        vm.assertEq(token.balanceOf(payer) - before, paid, "a withdrawal goes to the payer");
        withdrawnFrom[c] += paid;
        _check10NothingOutstanding(c);
    }

    function _isWithdrawable(uint256 k, uint32 thawAt) private view returns (bool) {
        KeeperState memory s = _state(k);
        if (s.status == KeeperStatus.WoundDown) return block.timestamp >= uint256(s.endedAt) + X;
        return s.status == KeeperStatus.Closed || (thawAt != 0 && block.timestamp >= thawAt);
    }

    /* AN HONEST SESSION KEY */

    /// @dev In one second an honest client asks for something, a keeper replies, and sometimes a dishonest client signs.
    function _trade(uint256 word) internal virtual override {
        uint64 rise = uint64(word >> 64) % 1e11;
        _request(word >> 8, word >> 16, rise, word % 4 == 0);
        _reply(word >> 24, word >> 32);
        _reply(word >> 8, word >> 40);
        if (word % 8 < 2) _submit(word >> 48, word >> 56, rise, uint64(word >> 128));
        // A dishonest client leaves in the first second in which it can.
        for (uint256 c = 1; c < CHANNELS; c += 2) {
            if (_channel(c).deposit != 0 && _isWithdrawable(keeperOf(c), _channel(c).thawAt)) _withdraw(c);
        }
        if (word % 8 == 7) _collude(word >> 48, word >> 56, uint64(word >> 64), uint64(word >> 128), word >> 192);
    }

    function request(uint256 c, uint256 i, uint64 rise, bool late) external step {
        _request(c, i, rise, late);
    }

    /// @dev Pays a receipt of `rise` by a voucher for the batch being filled.
    function _request(uint256 c, uint256 i, uint64 rise, bool late) private {
        c = (c % (CHANNELS / 2)) * 2;
        uint256 k = keeperOf(c);
        if (inFlight[c].total != 0 || _state(k).status != KeeperStatus.Active) return;
        uint32 number = k == HONEST ? filling : _number(k) + (late || _isPending(k) ? 1 : 0);
        if (number < lastBatch[c]) number = lastBatch[c];
        if (number > _number(k) + 1) return;
        // Mostly the provider that follows the protocol, because its money is what is watched.
        address provider = _provider(i % 4 == 3 ? 1 : i % 4 == 2 ? 2 : HONEST);
        _sign(c, number, provider, 1 + rise % 1e11);
    }

    function _sign(uint256 c, uint32 number, address provider, uint64 rise) private {
        uint256 bps = _rate(keeperOf(c), number);
        uint64 total = lastSigned[c] + uint64((uint256(rise + OWN_FEE) * BPS) / (BPS - bps)) + 2;
        if (total > _channel(c).deposit || total <= _channel(c).spent) return;
        riseInFlight[c] = rise;
        lastSigned[c] = total;
        _signInFlight(Held(c, number, total, provider, 0, 0));
    }

    /// @dev `earned` restarts from what was accepted in the batch.
    function _signInFlight(Held memory h) private {
        h.earned = lastAccepted[keyOf(h.channel, h.provider, h.batch)] + riseInFlight[h.channel];
        lastBatch[h.channel] = h.batch;
        inFlight[h.channel] = h;
        _signed(h);
        vouchers[h.channel].push(h);
    }

    function reply(uint256 c, uint256 how) external step {
        _reply(c, how);
    }

    /// @dev The keeper accepts the voucher, refuses it because its batch is closed, promises too little, or stays silent.
    function _reply(uint256 c, uint256 how) private {
        c = (c % (CHANNELS / 2)) * 2;
        Held memory h = inFlight[c];
        uint256 k = keeperOf(c);
        if (h.total == 0) return;
        if (k == HONEST) {
            if (_accept(h)) _acknowledged(h);
            else if (h.batch < filling) _signAgain(h, filling);
            return;
        }
        how %= 8;
        uint32 next = _number(k) + (h.batch >= _number(k) || _isPending(k) ? 1 : 0);
        if (how > 5 && next > h.batch) {
            refused[c] += riseInFlight[c];
            _signAgain(h, next);
        } else if (how < 6) {
            h.owed = riseInFlight[c] + (how == 5 ? 0 : promised[k][h.batch][h.provider]);
            _remember(h);
            _acknowledged(h);
        }
    }

    function _acknowledged(Held memory h) private {
        lastAccepted[keyOf(h.channel, h.provider, h.batch)] = h.earned;
        inFlight[h.channel].total = 0;
        _count(h);
    }

    function _signAgain(Held memory h, uint32 number) private {
        h.batch = number;
        _signInFlight(h);
    }

    /* A DISHONEST SESSION KEY */

    function submit(uint256 i, uint256 p, uint64 rise, uint64 off) external step {
        _submit(i, p, rise, off);
    }

    /// @dev To the honest keeper: a proper voucher, or one that pays too little, exceeds the deposit or names a wrong batch.
    function _submit(uint256 i, uint256 p, uint64 rise, uint64 off) private {
        uint256 c = 1 + 2 * (i % 2);
        uint32 number = off % 8 == 0 ? _number(HONEST) + uint32(off / 8 % 3) : filling;
        rise = 1 + rise % 1e11;
        address provider = _provider(p);
        uint64 earned = acceptedMost[keyOf(c, provider, number)] + rise;
        uint256 bps = number > _number(HONEST) + 1 ? 0 : _rate(HONEST, _number(HONEST) + 1);
        uint64 total = lastTotal[c] + rise + _feeUp(rise, bps + off % 16 * bps / 8) + OWN_FEE + off % 4;
        Held memory h = Held(c, number, total, provider, earned, 0);
        _signed(h);
        if (_accept(h)) _count(h);
    }

    function collude(uint256 k, uint256 p, uint64 total, uint64 earned, uint256 mode) external step {
        _collude(k, p, total, earned, mode);
    }

    /// @dev Keeper and session key sign together whatever suits them, to anybody.
    function _collude(uint256 k, uint256 p, uint64 total, uint64 earned, uint256 mode) private {
        k = _dishonest(k);
        uint256 c = 4 * k + 1 + 2 * (mode % 2);
        if (_state(k).status == KeeperStatus.None) return;
        Channel memory ch = _channel(c);
        uint64 most = mode % 16 < 12 ? ch.deposit : ch.deposit * 2 + 1;
        if (most == 0) return;
        Held memory h = Held(c, _number(k) + uint32(mode / 16 % 2), 1 + total % most, _provider(p), 0, 0);
        h.earned = 1 + earned % h.total;
        h.owed = mode % 3 == 0 ? h.earned : promised[k][h.batch][h.provider] + h.earned;
        _signed(h);
        _remember(h);
        _count(h);
    }

    /// @dev A keeper accepts after all, for an accomplice, what it refused.
    function acceptLate(uint256 c, uint256 i) external step {
        c = 4 + (c % 4) * 2;
        if (vouchers[c].length == 0) return;
        Held memory h = vouchers[c][i % vouchers[c].length];
        if (h.provider == _provider(HONEST)) return;
        h.owed = h.earned;
        _remember(h);
    }

    /* DIRECT CHANNELS */

    /// @dev A direct payment. An honest client signs one only while the address has no bond; a dishonest one tries to spend
    /// what the honest keeper has promised on, which only the keeper itself could let happen.
    function direct(uint256 i, uint64 rise) external step {
        uint256 c = i % CHANNELS;
        uint256 k = keeperOf(c);
        bool bonded = _state(k).status != KeeperStatus.None;
        if (_isHonestClient(c) && bonded) return;
        Channel memory ch = _channel(c);
        if (ch.deposit == ch.spent) return;
        Held memory h = Held(c, 0, ch.spent + 1 + rise % (ch.deposit - ch.spent), keeperAt(k), 0, 0);
        _signed(h);
        if (h.total > lastSigned[c]) lastSigned[c] = h.total;
        bytes memory item = _collectItem(h);
        if (bonded) _mustNot(k, stranger, Calls.redeem(keeperAt(k), item), "8: a promise was spent directly");
        if (c < 4 && bonded) return;
        (uint256 before, uint64 fees) = (token.balanceOf(keeperAt(k)), settlement.fees());
        uint64 final_ = _feeDue(k);
        uint256 paid = _pay(k, bonded ? keeperAt(k) : stranger, Calls.redeem(keeperAt(k), item));
        uint64 fee = _feeUp(h.total - ch.spent, settlement.feeBps());
        vm.assertEq(paid, h.total - ch.spent - fee, "15: a direct payment is the rise less its fee");
        vm.assertEq(token.balanceOf(keeperAt(k)) - before, paid, "15: a direct payment goes to the keeper");
        vm.assertEq(settlement.fees() - fees, fee + final_, "15: the protocol gets the fee");
    }

    /// @dev The fee of a batch that is final and not written down yet.
    function _feeDue(uint256 k) private view returns (uint64) {
        uint32 number = _state(k).batch;
        return _number(k) > number ? _batch(k, number).fee : 0;
    }
}
