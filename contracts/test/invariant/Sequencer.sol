// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {Challenge} from "../../src/types/Batch.sol";
import {KeeperStatus} from "../../src/types/KeeperState.sol";
import {vm} from "../utils/Vm.sol";
import {DishonestKeepers} from "./DishonestKeepers.sol";

/// @notice Time, and the sequencer's power over it. An honest party notices what happened within D, signs its transaction
/// as it then sees the chain, and the sequencer includes it within F. Dishonest keepers act when it hurts most.
/// Time passes second by second, so that nothing can be skipped; what is due in one second lands in any order.
abstract contract Sequencer is DishonestKeepers {
    uint256 private constant KINDS = 8;
    uint256 private constant COMMIT = 0;
    // 1, 2, 3: answers for the three providers.
    uint256 private constant ANSWER = 1;
    uint256 private constant PROVE = 4;
    uint256 private constant LAPSE = 5;
    uint256 private constant VOID = 6;
    uint256 private constant RECOVER = 7;

    /// @dev What a party is about to do about a keeper: sign at `at`, then, with the calls signed, land at `at`.
    struct Task {
        uint256 at;
        uint32 number;
        bool isSigned;
        bytes first;
        bytes second;
    }

    mapping(uint256 slot => Task) private tasks;
    /// @dev A dishonest keeper that has stopped keeping its heartbeat, or answering.
    mapping(uint256 k => mapping(uint256 kind => mapping(uint32 number => bool))) private gaveUp;
    /// @dev 0: nobody is delayed; 1: everybody is delayed as long as possible; 2: anything between.
    uint256 private delays = 2;
    uint256 private entropy;
    /// @dev All keepers are gone.
    bool internal hasEveryoneLeft;

    /// @dev The market goes on while time passes.
    function _trade(uint256 word) internal virtual;

    /* TIME */

    function wait(uint256 time) external step {
        _pass(block.timestamp + time % 3);
    }

    function waitLonger(uint256 time) external step {
        _pass(block.timestamp + time % (W + 2));
    }

    /// @dev To the second before, at or after the time when a channel thaws or a keeper's recovery or retirement ends.
    function waitForExit(uint256 c, uint256 offset) external step {
        c %= CHANNELS;
        uint256 k = keeperOf(c);
        uint256 time = _channel(c).thawAt;
        if (_state(k).endedAt != 0 && offset % 2 == 0) time = uint256(_state(k).endedAt) + U;
        if (_state(k).status == KeeperStatus.WoundDown) time = uint256(_state(k).endedAt) + X;
        time += (offset / 2) % 3;
        // A long wait ends most of what goes on, so it must stay rare.
        if (time > block.timestamp && (time < block.timestamp + W || offset % 3 == 0)) _pass(time - 1);
    }

    function delay(uint256 mode) external step {
        delays = mode % 3;
    }

    function _goOn() internal override {
        _observe();
        uint256 word = uint256(keccak256(abi.encode(++entropy)));
        if (!hasEveryoneLeft && word % 2 == 0) _pass(block.timestamp + word / 2 % 4);
    }

    /// @dev Lets everything happen that is due until then.
    function _pass(uint256 until) internal {
        _runDue();
        while (block.timestamp < until) {
            vm.warp(block.timestamp + 1);
            if (!hasEveryoneLeft) _trade(uint256(keccak256(abi.encode(++entropy))));
            _strike();
            _observe();
            _runDue();
        }
    }

    /// @dev A griefer tries to end every keeper in the last second in which it may still act, before it does.
    function _strike() private {
        for (uint256 k; k < KEEPERS; ++k) {
            if (!_isLive(k)) continue;
            if (!_isPending(k)) {
                if (block.timestamp != _since(k) + T) continue;
                _mustNot(k, stranger, abi.encodeCall(ISettlement.lapse, (keeperAt(k))), "8: lapsed in time");
                continue;
            }
            for (uint256 i; i < PROVIDERS; ++i) {
                address provider = _provider(i);
                if (settlement.challenged(keeperAt(k), _number(k), provider).deadline != block.timestamp) continue;
                bytes memory data = abi.encodeCall(ISettlement.void, (keeperAt(k), provider));
                _mustNot(k, stranger, data, "8: voided in time");
            }
        }
    }

    function _draw(uint256 most) internal returns (uint256) {
        if (delays < 2) return delays * most;
        return uint256(keccak256(abi.encode(++entropy))) % (most + 1);
    }

    function _coin(uint256 odds) private returns (bool) {
        return uint256(keccak256(abi.encode(++entropy))) % odds != 0;
    }

    /* WHO PLANS WHAT */

    function _observe() internal {
        for (uint256 k; k < KEEPERS; ++k) {
            if (_isLive(k)) {
                if (!hasEveryoneLeft) _planKeeper(k);
                _planProvider(k);
            } else if (_state(k).status == KeeperStatus.WoundDown && !hasSeenEnd[k]) {
                _plan(k, RECOVER, 0, _state(k).endedAt + _draw(D));
            }
        }
    }

    function _planKeeper(uint256 k) private {
        uint32 number = _number(k);
        if (_isPending(k)) {
            for (uint256 i; i < PROVIDERS; ++i) {
                _planAnswer(k, number, i);
            }
        } else if (tasks[k * KINDS + COMMIT].at == 0 && !gaveUp[k][COMMIT][number]) {
            // An honest keeper leaves the sequencer all of F; a dishonest one races against `lapse`.
            uint256 end = _since(k) + T;
            if (k == HONEST) {
                vm.assertLe(block.timestamp, end - F, "8: an honest keeper had no time to commit");
                end = block.timestamp + _draw(end - F - block.timestamp);
            } else {
                end += _draw(1 + F);
            }
            _plan(k, COMMIT, number, end);
        }
    }

    function _planAnswer(uint256 k, uint32 number, uint256 i) private {
        Challenge memory c = settlement.challenged(keeperAt(k), number, _provider(i));
        if (c.deadline == 0 || c.deadline < block.timestamp || tasks[k * KINDS + ANSWER + i].at != 0) return;
        if (gaveUp[k][ANSWER + i][number]) return;
        uint256 last = uint256(c.deadline) - block.timestamp;
        _plan(k, ANSWER + i, number, block.timestamp + (k == HONEST ? _draw(D) : last - _draw(last) / 4));
    }

    function _planProvider(uint256 k) private {
        uint32 number = _number(k);
        uint256 committedAt = _batch(k, number).committedAt;
        if (committedAt != 0 && owedMost[k][number].owed != 0 && !hasSeenCommit[k][number]) {
            _plan(k, PROVE, number, committedAt + _draw(D));
        }
        if (!_isInterested(k)) return;
        if (committedAt == 0) _plan(k, LAPSE, number, _since(k) + T + 1 + _draw(F));
        else _planVoid(k, number);
    }

    function _planVoid(uint256 k, uint32 number) private {
        uint256 deadline = type(uint256).max;
        for (uint256 i; i < PROVIDERS; ++i) {
            uint256 next = settlement.challenged(keeperAt(k), number, _provider(i)).deadline;
            if (next != 0 && next < deadline) deadline = next;
        }
        if (deadline != type(uint256).max) _plan(k, VOID, number, deadline + 1 + _draw(F));
    }

    function _plan(uint256 k, uint256 kind, uint32 number, uint256 at) private {
        Task storage t = tasks[k * KINDS + kind];
        if (t.at != 0) return;
        t.at = at < block.timestamp ? block.timestamp : at;
        t.number = number;
    }

    /* WHAT HAPPENS */

    /// @dev What is due, in an order that nobody can rely on, until nothing is.
    function _runDue() private {
        uint256 from = uint256(keccak256(abi.encode(++entropy)));
        bool isAnyDue = true;
        while (isAnyDue) {
            isAnyDue = false;
            for (uint256 i; i < KEEPERS * KINDS; ++i) {
                uint256 slot = (from % (KEEPERS * KINDS) + 7 * i) % (KEEPERS * KINDS);
                uint256 at = tasks[slot].at;
                if (at == 0 || at > block.timestamp) continue;
                _run(slot / KINDS, slot % KINDS, tasks[slot]);
                isAnyDue = true;
            }
            _observe();
        }
    }

    function _run(uint256 k, uint256 kind, Task storage t) private {
        bool isOfKeeper = kind < PROVE;
        if (isOfKeeper && (hasEveryoneLeft || !_isLive(k))) _drop(t);
        else if (isOfKeeper && k != HONEST) _runDishonest(k, kind, t);
        else if (kind == LAPSE || kind == VOID) _land(k, kind, t);
        else if (t.isSigned) _land(k, kind, t);
        else _prepare(k, kind, t);
    }

    function _runDishonest(uint256 k, uint256 kind, Task storage t) private {
        uint32 number = t.number;
        _drop(t);
        if (number != _number(k)) return;
        if (!_coin(8)) gaveUp[k][kind][number] = true;
        else if (kind == COMMIT) _commitAnything(k, uint256(keccak256(abi.encode(++entropy))));
        else _answerIfProvable(k, _provider(kind - ANSWER));
        // A leaf that it cannot show now it cannot show later.
        if (kind != COMMIT) gaveUp[k][kind][number] = true;
    }

    function _prepare(uint256 k, uint256 kind, Task storage t) private {
        t.isSigned = true;
        t.at = block.timestamp + _draw(F);
        if (kind == COMMIT) {
            (t.first, t.second) = _closeBatch();
        } else if (kind == PROVE) {
            t.first = _challengeCall(k, t.number);
            if (t.first.length == 0) _drop(t);
        } else if (kind == RECOVER) {
            t.first = _recoverCall(k);
            if (t.first.length == 0) _drop(t);
        } else if (t.number == _number(k)) {
            uint256 at = _largestLeaf(k, t.number, _provider(kind - ANSWER));
            vm.assertGt(at, 0, "8: an honest keeper has no leaf for what it promised");
            t.first = _answerCall(k, t.number, at - 1);
        } else {
            _drop(t);
        }
    }

    function _land(uint256 k, uint256 kind, Task storage t) private {
        (uint32 number, bytes memory first, bytes memory second) = (t.number, t.first, t.second);
        _drop(t);
        if (kind == COMMIT) {
            if (first.length != 0) _must(k, keeperAt(k), first);
            _must(k, keeperAt(k), second);
        } else if (kind == PROVE) {
            _landChallenge(k, number, first);
        } else if (kind == LAPSE) {
            bool isLate = _isLive(k) && !_isPending(k) && block.timestamp > _since(k) + T;
            if (isLate) _must(k, stranger, abi.encodeCall(ISettlement.lapse, (keeperAt(k))));
        } else if (kind == VOID) {
            _landVoid(k);
        } else if (kind == RECOVER) {
            // Strangers may have recovered any of it before.
            _pay(k, _provider(HONEST), first);
            _check11ShortMeansForfeit(k);
        } else {
            _landAnswer(k, number, _provider(kind - ANSWER), first);
        }
    }

    /// @dev Somebody else may have challenged for the same amount or more; that does as well.
    function _landChallenge(uint256 k, uint32 number, bytes memory data) private {
        address self = _provider(HONEST);
        if (_try(k, self, data) || _state(k).status == KeeperStatus.WoundDown) return;
        uint64 owed = settlement.challenged(keeperAt(k), number, self).owed;
        vm.assertLe(owedMost[k][number].owed, owed, "9: an honest challenge came too late");
    }

    function _landVoid(uint256 k) private {
        if (!_isLive(k) || !_isPending(k)) return;
        for (uint256 i; i < PROVIDERS; ++i) {
            uint32 deadline = settlement.challenged(keeperAt(k), _number(k), _provider(i)).deadline;
            if (deadline == 0 || deadline >= block.timestamp) continue;
            _must(k, stranger, abi.encodeCall(ISettlement.void, (keeperAt(k), _provider(i))));
            return;
        }
    }

    /// @dev A stranger may have shown the leaf before.
    function _landAnswer(uint256 k, uint32 number, address provider, bytes memory data) private {
        if (!_try(k, keeperAt(k), data)) {
            uint32 deadline = settlement.challenged(keeperAt(k), number, provider).deadline;
            vm.assertEq(deadline, 0, "8: an honest keeper's answer was refused");
        }
        shownLeaf[k][number][provider] = _largestLeaf(k, number, provider);
    }

    function _drop(Task storage t) private {
        t.at = 0;
        t.isSigned = false;
        delete t.first;
        delete t.second;
    }
}
