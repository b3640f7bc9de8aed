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

/** The name of what prices are for: `scale` base units of a resource. */
export function humanUnit(unit: string, scale: string): string {
  const names: Record<string, string> = {
    "3600000 GPU-ms": "GPU-hour",
    "3600000 vCPU-ms": "vCPU-hour",
    "3686400 MiB-s": "GiB-hour",
    "1073741824 byte": "GiB",
    "1000000000000000 FLOP": "PFLOP",
    "3600 lease-s": "lease-hour",
  };
  const prefixes: Record<string, string> = { "1000000000": "G", "1000000000000": "T" };
  const prefix = ["path", "hash", "key"].includes(unit) ? prefixes[scale] : undefined;
  return names[`${scale} ${unit}`] ?? (prefix === undefined ? `${count(scale)} ${unit}` : prefix + unit);
}

/** An address or hash, shortened in its middle. */
export function short(hex: string): string {
  return hex.length > 14 ? `${hex.slice(0, 8)}…${hex.slice(-4)}` : hex;
}

/** A moment of the chain, in the reader's own time zone. */
export function moment(seconds: number): string {
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" });
}
