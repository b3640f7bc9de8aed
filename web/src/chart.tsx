import { For, Show } from "solid-js";
import { capa, moment } from "./amounts";
import type { Candle } from "./indexer";

const WIDTH = 720;
const HEIGHT = 220;
const MARGIN = 10;

/** Places prices on the drawing. Only the ratio of bigints becomes a double, so no precision is lost that a pixel shows. */
function scale(candles: Candle[]): (price: string) => number {
  const lows = candles.map((candle) => BigInt(candle.low));
  const highs = candles.map((candle) => BigInt(candle.high));
  const low = lows.reduce((a, b) => (a < b ? a : b));
  const high = highs.reduce((a, b) => (a > b ? a : b));
  const range = high - low;
  return (price) => {
    const share = range === 0n ? 0.5 : Number(((BigInt(price) - low) * 10_000n) / range) / 10_000;
    return HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN);
  };
}

/** Candles as a drawing; the table below it says the same in text. */
export function Chart(props: { candles: Candle[]; label: string }) {
  const step = () => WIDTH / Math.max(props.candles.length, 12);
  return (
    <Show when={props.candles.length > 0} fallback={<p class="empty">No trades in this stretch of time yet.</p>}>
      <svg class="chart" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={props.label}>
        <For each={props.candles}>
          {(candle, index) => {
            const y = scale(props.candles);
            const x = () => (index() + 0.5) * step();
            const top = Math.min(y(candle.open), y(candle.close));
            const body = Math.max(Math.abs(y(candle.open) - y(candle.close)), 2);
            const rises = BigInt(candle.close) >= BigInt(candle.open);
            return (
              <g class={rises ? "up" : "down"} classList={{ unsettled: !candle.settled }}>
                <title>{`${moment(candle.start)}: ${capa(candle.open)} to ${capa(candle.close)} CAPA`}</title>
                <line x1={x()} x2={x()} y1={y(candle.high)} y2={y(candle.low)} />
                <rect x={x() - step() * 0.3} y={top} width={step() * 0.6} height={body} />
              </g>
            );
          }}
        </For>
      </svg>
      <p class="quiet">
        <small>Pale candles are not settled: trades in them are pending, or more may come.</small>
      </p>
    </Show>
  );
}
