import { type Address, type Hex, compactSignatureToSignature, parseCompactSignature, recoverAddress } from "viem";
import { describe, expect, it } from "vitest";
import file from "../../contracts/test/vectors/messages.json";
import { type Message, type MessageType, digest, structHash, types } from "../src/typed-data";

interface Vectors {
  domain: { chainId: string; verifyingContract: Address };
  signer: Address;
  messages: { type: MessageType; message: Message; structHash: Hex; digest: Hex; signature: Hex }[];
}

const vectors = file as unknown as Vectors;
const { chainId, verifyingContract } = vectors.domain;

describe("messages, hashed as the contracts and the Rust crates hash them", () => {
  it("has a vector for every message", () => {
    expect(vectors.messages.map((vector) => vector.type).sort()).toEqual(Object.keys(types).sort());
  });

  for (const vector of vectors.messages) {
    it(vector.type, async () => {
      expect(structHash(vector.type, vector.message)).toBe(vector.structHash);
      expect(digest(Number(chainId), verifyingContract, vector.type, vector.message)).toBe(vector.digest);
      const signature = compactSignatureToSignature(parseCompactSignature(vector.signature));
      const signer = await recoverAddress({ hash: vector.digest, signature });
      expect(signer.toLowerCase()).toBe(vectors.signer.toLowerCase());
    });
  }

  it("refuses a message with a missing field", () => {
    expect(() => structHash("Allocation", { provider: verifyingContract, earned: "1" })).toThrow("receipt");
  });

  it("keeps all 64 bits of an amount", () => {
    const message = { provider: verifyingContract, receipt: `0x${"00".repeat(32)}` };
    const [a, b] = ["9007199254740992", "9007199254740993"].map((earned) => structHash("Allocation", { ...message, earned }));
    expect(a).not.toBe(b);
  });
});
