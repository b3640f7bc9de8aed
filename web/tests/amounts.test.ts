import { expect, it } from "vitest";
import { capa, count, short } from "../src/amounts";

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
