// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Authorization} from "../../src/types/Authorization.sol";
import {SettlementFixture} from "../utils/SettlementFixture.sol";
import {Signing} from "../utils/Signing.sol";
import {vm} from "../utils/Vm.sol";

/// @notice A payer signs a top-up, which its relayer does not send. Later it closes the channel. Whoever holds the
/// signature then ends the close with it in the last second, and takes the amount in as well.
contract EndedCloseTest is SettlementFixture {
    bytes32 private constant RECEIVE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );

    function test_AStrangerCannotEndAClose() external {
        _start();
        Authorization memory a;
        a.validBefore = type(uint256).max;
        bytes32 nonce = settlement.authorizationNonce(session, keeper, 0);
        bytes32 hash = keccak256(abi.encode(RECEIVE, client, address(settlement), 1, 0, a.validBefore, nonce));
        (a.v, a.r, a.s) = vm.sign(CLIENT_KEY, Signing.digest(token.DOMAIN_SEPARATOR(), hash));

        vm.prank(client);
        settlement.close(session, keeper);
        uint256 thawAt = _channel().thawAt;
        vm.warp(thawAt - 1);
        vm.prank(keeper);
        (bool done,) =
            address(settlement).call(abi.encodeCall(settlement.openWithAuthorization, (client, session, keeper, 1, a)));
        done;
        vm.warp(thawAt);
        vm.prank(client);
        (bool withdrawn,) = address(settlement).call(abi.encodeCall(settlement.withdraw, (session, keeper)));
        vm.assertTrue(withdrawn, "the payer withdraws when it was told that it could");
    }
}
