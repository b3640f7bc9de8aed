// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ComputeToken} from "../../src/ComputeToken.sol";
import {Messages} from "../../src/Messages.sol";
import {Settlement} from "../../src/Settlement.sol";
import {Batch} from "../../src/types/Batch.sol";
import {Channel} from "../../src/types/Channel.sol";
import {Emission} from "../../src/types/Emission.sol";
import {Grant} from "../../src/types/Grant.sol";
import {KeeperState, KeeperStatus} from "../../src/types/KeeperState.sol";
import {Acceptance, Allocation, Voucher} from "../../src/types/Messages.sol";
import {Periods, Settings} from "../../src/types/Settings.sol";
import {Artifacts} from "../utils/Artifacts.sol";
import {Leaf} from "../utils/ReferenceTree.sol";
import {Signing} from "../utils/Signing.sol";
import {vm} from "../utils/Vm.sol";

/// @notice A signed voucher; `owed` is what the keeper's acceptance of it says, 0 where there is none.
struct Held {
    uint256 channel;
    uint32 batch;
    uint64 total;
    address provider;
    uint64 earned;
    uint64 owed;
}

/// @notice The parties and their messages. Keeper 0 follows the protocol, keeper 1 does not, keeper 2 starts as a provider
/// with direct channels and may become a dishonest keeper. Client 0 is honest, client 1 is not; each has two session keys,
/// which makes four channels per keeper. Provider 0 follows the protocol, the others do what anybody may do.
abstract contract World {
    uint256 public constant KEEPERS = 3;
    uint256 public constant CHANNELS = 12;
    uint256 public constant PROVIDERS = 3;
    uint64 public constant BOND = 1e12;
    uint256 internal constant HONEST = 0;
    uint256 internal constant BPS = 10_000;

    // The least periods that keep the promises for parties that use all of D and F, so that one second less would show.
    uint32 internal constant F = 5;
    uint32 internal constant D = 6;
    uint32 internal constant R = F + D;
    uint32 internal constant T = F + D;
    // The challenge and recovery periods exclude their last second.
    uint32 internal constant W = F + D + 1;
    uint32 internal constant X = F + D + 1;
    // `lapse` and `void` are possible one second after the deadline that they punish, which costs one second more than the
    // deadlines add up to; and a withdrawal must not come first in the second of the `void`.
    uint32 internal constant THAW = 2 * (T + W + R) + 3 * F + D + 2;
    uint32 internal constant U = THAW + 1;

    address internal immutable governor = address(0x60f0);
    address internal immutable treasury = address(0x74ea);
    address internal immutable bondOwner = address(0xb0d0);
    address internal immutable stranger = address(0x57a6);

    ComputeToken public token;
    Settlement public settlement;
    Messages internal messages;
    bytes32 internal domain;

    /// @dev Addresses of the keys, looked up once.
    address[2] private clients = [vm.addr(100), vm.addr(101)];
    address[2] private sessions = [vm.addr(300), vm.addr(301)];
    address[3] private keepers = [vm.addr(200), vm.addr(201), vm.addr(202)];
    bytes32[12] private ids;

    constructor() {
        vm.warp(1_800_000_000);
        Grant[] memory grants = new Grant[](6);
        for (uint256 i; i < 2; ++i) {
            grants[i] = Grant(clients[i], 1e17);
        }
        for (uint256 k; k < KEEPERS; ++k) {
            grants[2 + k] = Grant(keepers[k], 1e17);
        }
        grants[5] = Grant(stranger, 1e17);
        token = ComputeToken(Artifacts.deploy("ComputeToken", abi.encode(governor, grants, Emission(0, 0, 0))));
        Periods memory p = Periods(W, R, T, THAW, U, X, F, D);
        Settings memory s = Settings(governor, governor, treasury, BOND, 137);
        settlement = Settlement(Artifacts.deploy("Settlement", abi.encode(address(token), p, s)));
        messages = new Messages();
        domain = settlement.domainSeparator();
        for (uint256 i; i < grants.length; ++i) {
            vm.prank(grants[i].to);
            token.approve(address(settlement), type(uint256).max);
        }
        for (uint256 c; c < CHANNELS; ++c) {
            (address payer, address signer, address keeper) = _parties(c);
            ids[c] = keccak256(abi.encode(payer, signer, keeper));
        }
    }

    /* PARTIES */

    function keeperAt(uint256 k) public view returns (address) {
        return keepers[k];
    }

    /// @dev The last one stands for the keeper's own leaf.
    function earnerAt(uint256 k, uint256 i) public view returns (address) {
        return i == PROVIDERS ? keepers[k] : _provider(i);
    }

    function channelIdAt(uint256 c) public view returns (bytes32) {
        return ids[c];
    }

    function keeperOf(uint256 c) public pure returns (uint256) {
        return c / 4;
    }

    function _provider(uint256 i) internal pure returns (address) {
        return address(uint160(0xa000 + i % PROVIDERS));
    }

    function _isHonestClient(uint256 c) internal pure returns (bool) {
        return c % 2 == 0;
    }

    function _parties(uint256 c) internal view returns (address payer, address signer, address keeper) {
        return (clients[c % 2], sessions[(c / 2) % 2], keepers[c / 4]);
    }

    function _sessionKey(uint256 c) internal pure returns (uint256) {
        return 300 + (c / 2) % 2;
    }

    /* STATE */

    function _channel(uint256 c) internal view returns (Channel memory) {
        return settlement.channel(ids[c]);
    }

    function _state(uint256 k) internal view returns (KeeperState memory) {
        return settlement.keeper(keepers[k]);
    }

    function _batch(uint256 k, uint32 number) internal view returns (Batch memory) {
        return settlement.batch(keepers[k], number);
    }

    function _isLive(uint256 k) internal view returns (bool) {
        KeeperStatus status = _state(k).status;
        return status == KeeperStatus.Active || status == KeeperStatus.Retiring;
    }

    /// @dev The first batch that is not final.
    function _number(uint256 k) internal view returns (uint32) {
        return settlement.currentBatch(keepers[k]);
    }

    function _isPending(uint256 k) internal view returns (bool) {
        return _batch(k, _number(k)).committedAt != 0;
    }

    /// @dev When the heartbeat period started, as the contract will see it.
    function _since(uint256 k) internal view returns (uint256 since) {
        KeeperState memory s = _state(k);
        since = s.since;
        uint256 finalAt = uint256(_batch(k, s.batch).committedAt) + W;
        if (_number(k) > s.batch && finalAt > since) since = finalAt;
    }

    /* MESSAGES */

    function _voucher(Held memory h) internal view returns (Voucher memory) {
        (address payer,, address keeper) = _parties(h.channel);
        Allocation memory latest = Allocation({provider: h.provider, earned: h.earned, receipt: "receipt"});
        return Voucher({payer: payer, keeper: keeper, batch: h.batch, total: h.total, latest: latest});
    }

    function _collectItem(Held memory h) internal view returns (bytes memory) {
        return Signing.collectItem(messages, domain, _sessionKey(h.channel), _voucher(h));
    }

    function _recoverItem(Held memory h) internal view returns (bytes memory) {
        uint256 keeperKey = 200 + keeperOf(h.channel);
        return Signing.recoverItem(messages, domain, _sessionKey(h.channel), keeperKey, _voucher(h), h.owed);
    }

    function _acceptance(Held memory h) internal view returns (bytes memory) {
        bytes32 hash = messages.hashVoucher(_voucher(h));
        Acceptance memory a = Acceptance({voucher: hash, provider: h.provider, batch: h.batch, owed: h.owed});
        return Signing.acceptance(messages, domain, 200 + keeperOf(h.channel), a);
    }

    function keyOf(uint256 c, address provider, uint32 number) public pure returns (bytes32) {
        return keccak256(abi.encode(c, provider, number));
    }

    /// @dev The protocol fee that a keeper sets aside for a voucher.
    function _feeUp(uint256 rise, uint256 bps) internal pure returns (uint64) {
        return uint64((rise * bps + BPS - 1) / BPS);
    }

    function _append(Leaf[] memory leaves, Leaf memory last) internal pure returns (Leaf[] memory longer) {
        longer = new Leaf[](leaves.length + 1);
        for (uint256 i; i < leaves.length; ++i) {
            longer[i] = leaves[i];
        }
        longer[leaves.length] = last;
    }
}
