// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {BlockingToken} from "../../utils/BlockingToken.sol";
import {vm} from "../../utils/Vm.sol";
import {RegistryWorld} from "./RegistryWorld.sol";

/// @notice What the parties can do. Every function is a legal call for any arguments: it picks parties from them, makes the call
/// if the model calls it possible, and otherwise sees to it that it fails.
contract RegistryHandler is RegistryWorld {
    constructor(bool burnable) RegistryWorld(burnable) {}

    function checkBooks() external view {
        _checkBooks();
    }

    /* PROVIDERS */

    function register(uint256 p) external {
        p %= PROVIDERS;
        if (accounts[p].registered) {
            _refused(providers[p], abi.encodeCall(registry.register, ("", "", 0)), "registered twice");
            return;
        }
        _register(providers[p]);
        accounts[p].registered = true;
    }

    function update(uint256 p, bytes32 terms) external {
        p %= PROVIDERS;
        if (!accounts[p].registered) return;
        vm.prank(providers[p]);
        registry.update("", "", terms);
        vm.assertEq(registry.provider(providers[p]).terms, terms, "the provider's terms");
    }

    function addWorker(uint256 p, uint256 w) external {
        address provider = providers[p % PROVIDERS];
        w %= WORKERS;
        (bytes32 r, bytes32 vs) = vm.signCompact(_workerKey(w), registry.consentDigest(provider, workers[w]));
        bytes memory signature = abi.encodePacked(r, vs);
        if (employer[workers[w]] != address(0) || !accounts[p % PROVIDERS].registered) {
            _refused(provider, abi.encodeCall(registry.addWorker, (workers[w], signature)), "8: a key was taken over");
            return;
        }
        vm.prank(provider);
        registry.addWorker(workers[w], signature);
        employer[workers[w]] = provider;
    }

    /// @dev A consent to one provider is worth nothing to another.
    function stealWorker(uint256 p, uint256 w) external {
        w %= WORKERS;
        p %= PROVIDERS;
        bytes32 digest = registry.consentDigest(providers[(p + 1) % PROVIDERS], workers[w]);
        (bytes32 r, bytes32 vs) = vm.signCompact(_workerKey(w), digest);
        bytes memory call = abi.encodeCall(registry.addWorker, (workers[w], abi.encodePacked(r, vs)));
        _refused(providers[p], call, "8: a key was added by another's consent");
    }

    function removeWorker(uint256 p, uint256 w) external {
        address provider = providers[p % PROVIDERS];
        w %= WORKERS;
        if (employer[workers[w]] != provider) {
            _refused(provider, abi.encodeCall(registry.removeWorker, (workers[w])), "8: another's key was removed");
            return;
        }
        vm.prank(provider);
        registry.removeWorker(workers[w]);
        employer[workers[w]] = address(0);
    }

    function stake(uint256 p, uint64 amount) external {
        p %= PROVIDERS;
        Account storage a = accounts[p];
        amount = 1 + amount % STAKE;
        if (!a.registered || a.staked + amount < MINIMUM) {
            _refused(providers[p], abi.encodeCall(registry.stake, (amount)), "a stake out of bounds");
            return;
        }
        _stake(providers[p], amount);
        a.staked += amount;
        a.stakedInAll += amount;
    }

    function unstake(uint256 p, uint64 amount, bool all) external {
        p %= PROVIDERS;
        Account storage a = accounts[p];
        amount = all ? uint64(a.staked) : amount % (STAKE / 4);
        bool possible = amount != 0 && amount <= a.staked && (a.staked == amount || a.staked - amount >= MINIMUM);
        if (!possible || (a.exiting != 0 && a.withdrawAt <= block.timestamp)) {
            _refused(providers[p], abi.encodeCall(registry.unstake, (amount)), "an exit out of bounds");
            return;
        }
        _unstake(providers[p], amount);
        a.staked -= amount;
        a.exiting += amount;
        a.unstakedAt = block.timestamp;
        a.withdrawAt = block.timestamp + DELAY;
    }

    function withdrawStake(uint256 p) external {
        p %= PROVIDERS;
        Account storage a = accounts[p];
        if (a.exiting == 0 || block.timestamp < a.withdrawAt) {
            _refused(providers[p], abi.encodeCall(registry.withdrawStake, ()), "3: a stake left before its delay");
            return;
        }
        vm.assertLe(a.unstakedAt + DELAY, block.timestamp, "3: the delay");
        uint256 before = _balanceOf(providers[p]);
        _withdrawStake(providers[p]);
        vm.assertEq(_balanceOf(providers[p]) - before, a.exiting, "3: all that was exiting");
        a.withdrawnInAll += a.exiting;
        a.exiting = 0;
        a.withdrawAt = 0;
    }

    /* SLASHER */

    function slash(uint256 p, uint64 amount, uint64 compensation, uint256 c) external {
        p %= PROVIDERS;
        Account storage a = accounts[p];
        // Amounts around the budget of a whole stake.
        amount = 1 + amount % (STAKE / 4);
        compensation %= amount + 1;
        bytes32 verdict = bytes32(++verdicts);
        bytes memory call = abi.encodeCall(registry.slash, (providers[p], amount, _client(c), compensation, verdict));
        uint256 most = _slashable(a);
        if (most == 0 || _inOffice() == address(0)) {
            address caller = _inOffice() == address(0) ? slasher : _inOffice();
            _refused(caller, call, "5: a verdict took what was out of reach");
            --verdicts;
            return;
        }
        uint256 expected = amount < most ? amount : most;
        uint256 first = compensation < expected ? compensation : expected;
        vm.prank(_inOffice());
        (uint64 slashed, uint64 compensated) = registry.slash(providers[p], amount, _client(c), compensation, verdict);
        vm.assertEq(slashed, expected, "5: what a verdict takes");
        vm.assertEq(compensated, first, "6: the client comes first");
        _take(a, slashed);
        owed[_client(c)] += first;
        forfeited += expected - first;
        _checkLeft(a);
    }

    /// @dev Who unstaked everything within an epoch of the notice is out of the successor's reach.
    function _checkLeft(Account storage a) private view {
        if (block.timestamp < successionAt || announcedAt == 0 || a.exiting == 0) return;
        bool leftInTime = a.unstakedAt >= announcedAt && a.unstakedAt <= announcedAt + EPOCH;
        if (leftInTime) vm.assertLe(a.withdrawAt, block.timestamp, "10: the successor reached an exit");
    }

    function repeatVerdict(uint256 p, uint256 v) external {
        if (verdicts == 0) return;
        bytes32 verdict = bytes32(1 + v % verdicts);
        bytes memory call = abi.encodeCall(registry.slash, (providers[p % PROVIDERS], 1, _client(0), 0, verdict));
        _refused(_inOffice(), call, "7: a verdict was executed twice");
    }

    /// @dev The owner, a slasher that is not in office, the providers, anybody.
    function slashWithoutOffice(uint256 p, address caller, uint256 s) external {
        if (s % 4 != 0) caller = s % 4 == 1 ? governor : _slasher(s);
        if (caller == _inOffice()) return;
        bytes memory call = abi.encodeCall(registry.slash, (providers[p % PROVIDERS], 1, _client(0), 1, "verdict"));
        _refused(caller, call, "7: somebody without office slashed");
    }

    /* CLIENTS AND STRANGERS */

    function compensate(uint256 c) external {
        address to = _client(c);
        if (owed[to] == 0 || _isBlocked(to)) {
            _refused(stranger, abi.encodeCall(registry.compensate, (to)), "11: a client was paid without right");
            return;
        }
        uint256 before = _balanceOf(to);
        vm.prank(stranger);
        registry.compensate(to);
        vm.assertEq(_balanceOf(to) - before, owed[to], "11: all that the client was owed");
        owed[to] = 0;
    }

    function burnForfeits() external {
        if (forfeited == 0 || !BURNABLE) {
            _refused(stranger, abi.encodeCall(registry.burnForfeits, ()), "a burn of nothing, or without burn");
            return;
        }
        uint256 supply = token.totalSupply();
        registry.burnForfeits();
        vm.assertEq(supply - token.totalSupply(), forfeited, "6: all forfeits and nothing else");
        forfeited = 0;
    }

    function block_(uint256 c, bool blocked) external {
        if (!BURNABLE) BlockingToken(asset).setBlocked(_client(c), blocked);
    }

    function donate(uint256 p, uint64 amount) external {
        vm.prank(providers[p % PROVIDERS]);
        BlockingToken(asset).transfer(address(registry), amount % 1000);
        donated += amount % 1000;
    }

    /* OWNER */

    function setSlasher(uint256 s, uint256 chance) external {
        if (chance % 4 != 0) return;
        address next = chance % 16 == 0 ? address(0) : _slasher(s);
        office = _inOffice();
        vm.prank(governor);
        registry.setSlasher(next);
        successor = next;
        successionAt = next == address(0) ? block.timestamp : block.timestamp + DELAY + EPOCH;
        announcedAt = block.timestamp;
    }

    /* TIME */

    function wait(uint256 time) external {
        _skip(time % EPOCH);
        _enterEpoch();
    }

    function waitLong(uint256 time, uint256 chance) external {
        if (chance % 4 != 0) return;
        _skip(DELAY + time % (2 * EPOCH));
        _enterEpoch();
    }

    /// @dev To the last second of an exit's delay, or to the end of it.
    function waitForExit(uint256 p, bool over) external {
        uint256 time = accounts[p % PROVIDERS].withdrawAt;
        if (time == 0) return;
        if (!over) --time;
        if (time > block.timestamp) vm.warp(time);
        _enterEpoch();
    }

    /* END */

    /// @dev Invariant 12, at the end of each run: everybody takes what is theirs.
    function leave() external {
        for (uint256 i; i < PROVIDERS; ++i) {
            Account storage a = accounts[i];
            if (a.exiting != 0 && a.withdrawAt <= block.timestamp) _withdrawStake(providers[i]);
            uint64 staked = registry.stakeOf(providers[i]).staked;
            if (staked != 0) _unstake(providers[i], staked);
        }
        _skip(DELAY);
        for (uint256 i; i < PROVIDERS; ++i) {
            if (registry.stakeOf(providers[i]).exiting != 0) _withdrawStake(providers[i]);
        }
        for (uint256 i; i < CLIENTS; ++i) {
            if (!BURNABLE) BlockingToken(asset).setBlocked(_client(i), false);
            if (owed[_client(i)] != 0) registry.compensate(_client(i));
        }
        if (BURNABLE && forfeited != 0) registry.burnForfeits();
        uint256 kept = BURNABLE ? donated : donated + forfeited;
        vm.assertEq(_balanceOf(address(registry)), kept, "12: everything has left but what is nobody's");
    }

    function _isBlocked(address account) private view returns (bool) {
        return !BURNABLE && BlockingToken(asset).isBlocked(account);
    }
}
