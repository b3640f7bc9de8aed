// Nano CAPA for people. Amounts stay strings and bigints: a double holds 2^53, an amount may have 64 bits.

const NANO = 1_000_000_000n;

/** `1500000000` as `1.5`, with thousands separated. */
export function capa(nano: string): string {
  const value = BigInt(nano);
  const fraction = (value % NANO).toString().padStart(9, "0").replace(/0+$/, "");
  const whole = (value / NANO).toLocaleString("en-US");
  return fraction === "" ? whole : `${whole}.${fraction}`;
}

/** An integer with its thousands separated. */
export function count(digits: string): string {
  return BigInt(digits).toLocaleString("en-US");
}

/** The name of the unit that prices are for. */
export function humanUnit(unit: string): string {
  const names: Record<string, string> = {
    "GPU-ms": "GPU-hour",
    "vCPU-ms": "vCPU-hour",
    "MiB-s": "GiB-hour",
    byte: "GiB",
    FLOP: "PFLOP",
    path: "Gpath",
    hash: "Ghash",
    key: "Gkey",
    "lease-s": "lease-hour",
  };
  return names[unit] ?? unit;
}

/** An address or hash, shortened in its middle. */
export function short(hex: string): string {
  return hex.length > 14 ? `${hex.slice(0, 8)}…${hex.slice(-4)}` : hex;
}

/** A moment of the chain, in the reader's own time zone. */
export function moment(seconds: number): string {
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" });
}
