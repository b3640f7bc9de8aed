// The messages of the protocol as wallets sign them (EIP-712). Section 4 of the protocol description is the reference;
// the golden vectors keep this file, the contracts and the Rust crates equal.

import { type Address, type Hex, hashStruct, hashTypedData } from "viem";

export const types = {
  Voucher: [
    { name: "payer", type: "address" },
    { name: "keeper", type: "address" },
    { name: "batch", type: "uint32" },
    { name: "total", type: "uint64" },
    { name: "latest", type: "Allocation" },
  ],
  Allocation: [
    { name: "provider", type: "address" },
    { name: "earned", type: "uint64" },
    { name: "receipt", type: "bytes32" },
  ],
  Acceptance: [
    { name: "voucher", type: "bytes32" },
    { name: "provider", type: "address" },
    { name: "batch", type: "uint32" },
    { name: "owed", type: "uint64" },
  ],
  Receipt: [
    { name: "job", type: "bytes32" },
    { name: "provider", type: "address" },
    { name: "sequence", type: "uint64" },
    { name: "usage", type: "bytes32" },
    { name: "amount", type: "uint64" },
    { name: "result", type: "bytes32" },
    { name: "at", type: "uint64" },
  ],
  Usage: [
    { name: "gpuMs", type: "uint64" },
    { name: "cpuMs", type: "uint64" },
    { name: "memoryMibS", type: "uint64" },
    { name: "bytesIn", type: "uint64" },
    { name: "bytesOut", type: "uint64" },
    { name: "fuel", type: "uint64" },
    { name: "work", type: "uint64" },
    { name: "leaseS", type: "uint64" },
  ],
  Offer: [
    { name: "provider", type: "address" },
    { name: "resource", type: "uint32" },
    { name: "price", type: "uint64" },
    { name: "capacity", type: "uint64" },
    { name: "terms", type: "bytes32" },
    { name: "expiry", type: "uint64" },
    { name: "salt", type: "uint256" },
  ],
  Order: [
    { name: "payer", type: "address" },
    { name: "resource", type: "uint32" },
    { name: "maxPrice", type: "uint64" },
    { name: "maxUnits", type: "uint64" },
    { name: "maxTotal", type: "uint64" },
    { name: "spec", type: "bytes32" },
    { name: "terms", type: "bytes32" },
    { name: "expiry", type: "uint64" },
    { name: "salt", type: "uint256" },
  ],
} as const;

export type MessageType = keyof typeof types;

/** Integers as bigint, or as the decimal strings in which the APIs carry them. */
export type Message = { [field: string]: string | number | bigint | Message };

/** Where signatures count. */
export const domain = (chainId: number, settlement: Address) =>
  ({ name: "Capa", version: "1", chainId, verifyingContract: settlement }) as const;

/** The struct hash of a message; that of an order names its job. */
export function structHash(primaryType: MessageType, message: Message): Hex {
  return hashStruct({ types, primaryType, data: integers(primaryType, message) } as never);
}

/** What a key signs. */
export function digest(chainId: number, settlement: Address, primaryType: MessageType, message: Message): Hex {
  const data = integers(primaryType, message);
  return hashTypedData({ domain: domain(chainId, settlement), types, primaryType, message: data } as never);
}

/** Decimal strings become integers by the type of their field: a 64-bit number must never pass through a double. */
function integers(type: MessageType, message: Message): Message {
  const fields = types[type].map(({ name, type: field }): [string, Message[string]] => {
    const value = message[name];
    if (value === undefined) throw new TypeError(`a message of type ${type} needs the field ${name}`);
    if (typeof value === "object") return [name, integers(field as MessageType, value)];
    return [name, field.startsWith("uint") ? BigInt(value) : value];
  });
  return Object.fromEntries(fields);
}
