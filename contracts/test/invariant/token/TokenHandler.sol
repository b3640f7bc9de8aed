// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ComputeToken} from "../../../src/ComputeToken.sol";
import {Emission} from "../../../src/types/Emission.sol";
import {Grant} from "../../../src/types/Grant.sol";
import {Signing} from "../../utils/Signing.sol";
import {vm} from "../../utils/Vm.sol";

/// @notice What holders and minters can do. Every function is a legal call for any arguments: it picks parties from them
/// and returns where the step is impossible, so that a revert means a bug.
contract TokenHandler {
    uint256 public constant HOLDERS = 5;
    uint256 public constant NONCES = 8;
    uint64 public constant GRANT = 1e17;

    bytes32 private constant TRANSFER_WITH_AUTHORIZATION =
        0x7c7c6cdb67a18743f49ec6fa9b35f50d52ed05cbed4cc592e13b44501c1a2267;
    bytes32 private constant RECEIVE_WITH_AUTHORIZATION =
        0xd099cc98ef71107a616c4f0f941f04c322d8e254fe26b3c6668db87aae413de8;
    bytes32 private constant CANCEL_AUTHORIZATION = 0x158b0a9edf7a828aad02f63cd515c68ef2f50ba807396f6d12842833a1597429;
    bytes32 private constant PERMIT =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    /// @notice A signed transfer: whose, in which form, and between whom.
    struct Authorization {
        address from;
        address to;
        uint256 value;
        bytes32 nonce;
        bool received;
        bool packed;
    }

    ComputeToken public token;
    /// @dev Kept, because to derive an address from its key is what a campaign would spend its time on.
    address[HOLDERS] private holders;

    uint256 public mintedInAll;
    uint256 public burnedInAll;
    mapping(address holder => mapping(bytes32 nonce => uint256 times)) public timesUsed;

    constructor() {
        vm.warp(1_800_000_000);
        Grant[] memory grants = new Grant[](HOLDERS);
        for (uint256 i; i < HOLDERS; ++i) {
            holders[i] = vm.addr(_key(i));
            grants[i] = Grant(holders[i], GRANT);
        }
        // All that the cap leaves, over a thousand steps of at most a minute.
        uint64 rest = 1e18 - uint64(HOLDERS) * GRANT;
        token = new ComputeToken(holderAt(0), grants, Emission(rest, uint32(block.timestamp) + 100, 30_000));
    }

    function holderAt(uint256 i) public view returns (address) {
        return holders[i % HOLDERS];
    }

    function nonceAt(uint256 i) public pure returns (bytes32) {
        return bytes32(i % NONCES);
    }

    function _key(uint256 i) private pure returns (uint256) {
        return 0x1000 + i % HOLDERS;
    }

    function _sign(uint256 i, bytes32 structHash) private view returns (uint8, bytes32, bytes32) {
        return vm.sign(_key(i), Signing.digest(token.DOMAIN_SEPARATOR(), structHash));
    }

    /// @dev As much of a balance as `amount` picks: nothing and all of it included.
    function _part(address holder, uint256 amount) private view returns (uint256) {
        return amount % (token.balanceOf(holder) + 1);
    }

    /* TIME */

    /// @dev What was true a moment ago is what the checkpoints say later.
    function skip(uint256 time, uint256 i) external {
        uint256 then = block.timestamp;
        (uint256 supply, uint256 votes) = (token.totalSupply(), token.getVotes(holderAt(i)));
        vm.warp(then + 1 + time % 60);
        vm.assertEq(token.getPastTotalSupply(then), supply, "the supply that was");
        vm.assertEq(token.getPastVotes(holderAt(i), then), votes, "the votes that were");
    }

    /* HOLDERS */

    function transfer(uint256 from, uint256 to, uint256 amount) external {
        amount = _part(holderAt(from), amount);
        vm.prank(holderAt(from));
        token.transfer(holderAt(to), amount);
    }

    function transferFrom(uint256 from, uint256 spender, uint256 to, uint256 amount) external {
        amount = _part(holderAt(from), amount);
        (address owner, address caller) = (holderAt(from), holderAt(spender));
        bytes32 structHash = keccak256(abi.encode(PERMIT, owner, caller, amount, token.nonces(owner), block.timestamp));
        (uint8 v, bytes32 r, bytes32 s) = _sign(from, structHash);
        token.permit(owner, caller, amount, block.timestamp, v, r, s);
        vm.prank(caller);
        token.transferFrom(owner, holderAt(to), amount);
        vm.assertEq(token.allowance(owner, caller), 0, "the permit is used up");
    }

    function burn(uint256 i, uint256 amount) external {
        // Mostly small: otherwise nothing is left to play with.
        amount = _part(holderAt(i), amount) / 16;
        vm.prank(holderAt(i));
        token.burn(amount);
        burnedInAll += amount;
    }

    /// @dev To a holder, itself included, or to nobody.
    function delegate(uint256 i, uint256 to) external {
        to %= HOLDERS + 1;
        vm.prank(holderAt(i));
        token.delegate(to == HOLDERS ? address(0) : holderAt(to));
    }

    /* AUTHORIZATIONS */

    function authorize(uint256 from, uint256 to, uint256 amount, uint256 nonce, bool received, bool packed) external {
        Authorization memory a = Authorization({
            from: holderAt(from),
            to: holderAt(to),
            value: _part(holderAt(from), amount),
            nonce: nonceAt(nonce),
            received: received,
            packed: packed
        });
        bool used = token.authorizationState(a.from, a.nonce);
        vm.assertEq(_submit(from, a), !used, "an authorization works once");
        if (!used) ++timesUsed[a.from][a.nonce];
        vm.assertFalse(_submit(from, a), "and never again");
    }

    function cancel(uint256 i, uint256 nonce, bool packed) external {
        (address authorizer, bytes32 n) = (holderAt(i), nonceAt(nonce));
        if (token.authorizationState(authorizer, n)) return;
        (uint8 v, bytes32 r, bytes32 s) = _sign(i, keccak256(abi.encode(CANCEL_AUTHORIZATION, authorizer, n)));
        if (packed) token.cancelAuthorization(authorizer, n, abi.encodePacked(r, s, v));
        else token.cancelAuthorization(authorizer, n, v, r, s);
        ++timesUsed[authorizer][n];
    }

    /// @dev Whether the token took it.
    function _submit(uint256 i, Authorization memory a) private returns (bool success) {
        bytes32 kind = a.received ? RECEIVE_WITH_AUTHORIZATION : TRANSFER_WITH_AUTHORIZATION;
        (uint8 v, bytes32 r, bytes32 s) =
            _sign(i, keccak256(abi.encode(kind, a.from, a.to, a.value, 0, type(uint256).max, a.nonce)));
        bytes memory terms = abi.encode(a.from, a.to, a.value, 0, type(uint256).max, a.nonce);
        string memory name = a.received ? "receiveWithAuthorization" : "transferWithAuthorization";
        string memory form = a.packed ? "bytes)" : "uint8,bytes32,bytes32)";
        bytes4 selector =
            bytes4(keccak256(abi.encodePacked(name, "(address,address,uint256,uint256,uint256,bytes32,", form)));
        // Bytes come after the seven words of the head: their length, 65, and the signature in three words.
        bytes memory signature =
            a.packed ? abi.encodePacked(uint256(7 * 32), uint256(65), r, s, v, bytes31(0)) : abi.encode(v, r, s);
        vm.prank(a.to);
        (success,) = address(token).call(bytes.concat(selector, terms, signature));
    }

    /* MINTERS */

    function mint(uint256 to, uint256 amount, bool all) external {
        uint256 available = token.mintable();
        amount = all ? available : amount % (available + 1);
        vm.prank(token.minter());
        token.mint(holderAt(to), amount);
        mintedInAll += amount;
    }

    /// @dev The minter is a thief that takes whatever the token lets it.
    function mintTooMuch(uint256 excess) external {
        uint256 amount = token.mintable() + 1 + excess % 1e18;
        vm.prank(token.minter());
        (bool success,) = address(token).call(abi.encodeCall(token.mint, (holderAt(0), amount)));
        vm.assertFalse(success, "the schedule holds");
    }

    function handOver(uint256 to, bool accepted) external {
        vm.prank(token.minter());
        token.transferMinter(holderAt(to));
        if (!accepted) return;
        vm.prank(holderAt(to));
        token.acceptMinter();
        vm.assertEq(token.minter(), holderAt(to), "the right moved");
    }
}
