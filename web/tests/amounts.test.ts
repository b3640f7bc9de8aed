import { expect, it } from "vitest";
import { capa, count, humanUnit, short } from "../src/amounts";

it("writes nano CAPA for people, exactly", () => {
  expect(capa("0")).toBe("0");
  expect(capa("1")).toBe("0.000000001");
  expect(capa("1500000000")).toBe("1.5");
  expect(capa("18446744073709551615")).toBe("18,446,744,073.709551615");
});

it("separates thousands of any integer", () => {
  expect(count("545")).toBe("545");
  expect(count("18446744073709551615")).toBe("18,446,744,073,709,551,615");
});

it("shortens only what is long", () => {
  expect(short("0x1234567890abcdef1234")).toBe("0x123456…1234");
  expect(short("0x1234")).toBe("0x1234");
});

it("names what a price is for, by the unit and how many of them", () => {
  expect(humanUnit("GPU-ms", "3600000")).toBe("GPU-hour");
  expect(humanUnit("FLOP", "1000000000000000")).toBe("PFLOP");
  expect(humanUnit("key", "1000000000")).toBe("Gkey");
  expect(humanUnit("path", "1000000000000")).toBe("Tpath");
  expect(humanUnit("lease-s", "3600")).toBe("lease-hour");
  expect(humanUnit("GPU-ms", "1000")).toBe("1,000 GPU-ms");
  expect(humanUnit("qubit-s", "1")).toBe("1 qubit-s");
});
