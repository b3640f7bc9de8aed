// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Messages} from "../../src/Messages.sol";
import {Acceptance, Allocation, Voucher} from "../../src/types/Messages.sol";
import {vm} from "./Vm.sol";

/// @notice Signs and packs messages by way of `Messages`, so that the packed code paths are tested against the readable one.
library Signing {
    function digest(bytes32 domain, bytes32 structHash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function compact(uint256 key, bytes32 domain, bytes32 structHash) internal pure returns (bytes memory) {
        (bytes32 r, bytes32 vs) = vm.signCompact(key, digest(domain, structHash));
        return abi.encodePacked(r, vs);
    }

    /// @notice An item of `collect`, or of `redeem`.
    function collectItem(Messages messages, bytes32 domain, uint256 key, Voucher memory v)
        internal
        pure
        returns (bytes memory)
    {
        bytes memory signature = compact(key, domain, messages.hashVoucher(v));
        return abi.encodePacked(v.payer, v.total, messages.hashAllocation(v.latest), signature);
    }

    /// @notice The argument of `challenge`.
    function acceptance(Messages messages, bytes32 domain, uint256 key, Acceptance memory a)
        internal
        pure
        returns (bytes memory)
    {
        bytes memory signature = compact(key, domain, messages.hashAcceptance(a));
        return abi.encodePacked(a.voucher, a.provider, a.batch, a.owed, signature);
    }

    /// @notice An item of `recover`.
    function recoverItem(
        Messages messages,
        bytes32 domain,
        uint256 sessionKey,
        uint256 keeperKey,
        Voucher memory v,
        uint64 owed
    ) internal pure returns (bytes memory) {
        bytes32 hash = messages.hashVoucher(v);
        Allocation memory l = v.latest;
        Acceptance memory a = Acceptance({voucher: hash, provider: l.provider, batch: v.batch, owed: owed});
        return bytes.concat(
            abi.encodePacked(v.payer, v.batch, v.total, l.provider, l.earned, l.receipt),
            compact(sessionKey, domain, hash),
            abi.encodePacked(owed),
            compact(keeperKey, domain, messages.hashAcceptance(a))
        );
    }
}
