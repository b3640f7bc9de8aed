import { render } from "solid-js/web";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Page } from "../src/page";

const asOf = { block: 1234, hash: `0x${"ab".repeat(32)}`, timestamp: 1_790_000_000 };
const provider = `0x${"22".repeat(20)}`;
const keeper = `0x${"33".repeat(20)}`;

const answers: Record<string, unknown> = {
  "/v1/resources": [
    {
      id: 1,
      name: "gpu.h200",
      unit: "GPU-ms",
      scale: "3600000",
      last: { price: "2500000000", at: 1_789_999_000, finality: "pending" },
    },
    { id: 2, name: "cpu.x86-64", unit: "vCPU-ms", scale: "3600000", last: null },
  ],
  "/v1/resources/1/candles": {
    resource: 1,
    interval: "1m",
    finality: "all",
    candles: [
      {
        start: 1_789_998_960,
        end: 1_789_999_020,
        open: "2000000000",
        high: "2600000000",
        low: "1900000000",
        close: "2500000000",
        volume: "3600000",
        vwap: "2400000000",
        trades: 2,
        closed: true,
        settled: false,
      },
    ],
  },
  "/v1/trades": [
    {
      keeper,
      batch: 3,
      index: 0,
      job: `0x${"44".repeat(32)}`,
      provider,
      resource: 1,
      quantity: "1800000",
      price: "2500000000",
      amount: "1250000000",
      at: 1_789_999_000,
      finality: "pending",
      counted: true,
      related: false,
    },
  ],
  "/v1/batches": [
    {
      keeper,
      number: 3,
      finality: "proven",
      committedAt: 1_789_999_010,
      finalAt: 1_790_085_410,
      openChallenges: 0,
      sum: "1250000000",
      lineCount: 1,
      lines: "mismatch",
      linesProblem: "linesRoot differs",
    },
  ],
};

let dispose: () => void;
let root: HTMLElement;

beforeEach(() => {
  root = document.body.appendChild(document.createElement("div"));
});

afterEach(() => {
  dispose();
  root.remove();
  vi.unstubAllGlobals();
});

function serve(answer: (path: string) => Response) {
  vi.stubGlobal("fetch", async (url: string) => answer(url.split("?")[0] ?? ""));
  dispose = render(() => <Page />, root);
}

it("shows prices, trades and batches, how certain they are, and as of which block", async () => {
  serve((path) => Response.json({ asOf, data: answers[path] }));
  await vi.waitFor(() => expect(root.querySelectorAll("tbody a").length).toBeGreaterThan(2));
  const text = root.textContent;
  expect(text).toContain("2.5 CAPA");
  expect(text).toContain("per GPU-hour");
  expect(text).toContain("no trade yet");
  expect(text).toContain("1,800,000");
  expect(text).toContain("1.25");
  expect(text).toContain("As of block 1,234");
  expect([...root.querySelectorAll(".finality")].map((label) => label.textContent)).toEqual([
    "pending",
    "pending",
    "mismatch",
    "proven",
  ]);
  expect(root.querySelector(`a[href="/v1/trades/${keeper}/3/0/proof"]`)).not.toBeNull();
  expect(root.querySelectorAll(".chart g.up")).toHaveLength(1);
  expect(root.querySelector('button[aria-pressed="true"]')?.textContent).toContain("gpu.h200");
});

it("says what the indexer says when it cannot answer", async () => {
  serve(() => Response.json({ detail: "nothing is indexed yet" }, { status: 503 }));
  await vi.waitFor(() => expect(root.querySelector('[role="alert"]')?.textContent).toContain("nothing is indexed yet"));
});
