// The indexer's REST API, as far as this page reads it. /openapi.json describes all of it.

export type Finality = "pending" | "proven" | "void";
export type Interval = "1m" | "5m" | "15m" | "1h" | "4h" | "1d";

export interface AsOf {
  block: number;
  hash: string;
  timestamp: number;
}

export interface Answer<T> {
  asOf: AsOf;
  data: T;
  next?: string;
}

export interface Resource {
  id: number;
  name: string;
  unit: string;
  scale: string;
  last: { price: string; at: number; finality: Finality } | null;
}

export interface Candle {
  start: number;
  end: number;
  open: string;
  high: string;
  low: string;
  close: string;
  volume: string;
  vwap: string;
  trades: number;
  closed: boolean;
  settled: boolean;
}

export interface Candles {
  resource: number;
  interval: Interval;
  finality: "proven" | "all";
  candles: Candle[];
}

export interface Trade {
  keeper: string;
  batch: number;
  index: number;
  job: string;
  provider: string;
  resource: number;
  quantity: string;
  price: string;
  amount: string;
  at: number;
  finality: Finality;
  counted: boolean;
  related: boolean;
}

export interface Batch {
  keeper: string;
  number: number;
  finality: Finality;
  committedAt: number;
  finalAt: number;
  openChallenges: number;
  sum: string;
  lineCount: number;
  lines: "missing" | "mismatch" | "verified";
  linesProblem: string | null;
}

/** Reads one answer, or throws what the indexer says is wrong. */
async function get<T>(path: string): Promise<Answer<T>> {
  const response = await fetch(path, { headers: { accept: "application/json" } });
  if (!response.ok) {
    const problem = (await response.json().catch(() => null)) as { detail?: string } | null;
    throw new Error(problem?.detail ?? `the indexer answered ${response.status}`);
  }
  return (await response.json()) as Answer<T>;
}

export const resources = () => get<Resource[]>("/v1/resources");
export const trades = (resource: number) => get<Trade[]>(`/v1/trades?resource=${resource}&limit=20`);
export const batches = () => get<Batch[]>("/v1/batches?limit=10");
export const candles = (resource: number, interval: Interval) =>
  get<Candles>(`/v1/resources/${resource}/candles?interval=${interval}&finality=all&limit=60`);
