import { For, Match, Show, Switch, createMemo, createResource, createSignal, onCleanup } from "solid-js";
import { capa, count, humanUnit, moment, short } from "./amounts";
import { Chart } from "./chart";
import type { AsOf, Batch, Finality, Interval, Resource, Trade } from "./indexer";
import * as indexer from "./indexer";

const INTERVALS: Interval[] = ["1m", "5m", "15m", "1h", "4h", "1d"];
const REFRESH_MS = 4000;

const MEANING: Record<Finality, string> = {
  pending: "committed on chain; its batch can still be challenged",
  proven: "its batch is final on chain",
  void: "its batch was voided: it does not count",
};

function FinalityLabel(props: { of: Finality }) {
  return (
    <span class={`finality ${props.of}`} title={MEANING[props.of]}>
      {props.of}
    </span>
  );
}

/** Reads again every few seconds. A read that fails keeps what was read of the same source, and says what is wrong. */
function createReader<S, T>(source: () => S | undefined, fetcher: (source: S) => Promise<T>) {
  type Read = { of: S; answer: T } | undefined;
  const [problem, setProblem] = createSignal<string>();
  const [value, { refetch }] = createResource<Read, S>(source, async (of, info) => {
    try {
      const answer = await fetcher(of);
      setProblem(undefined);
      return { of, answer };
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
      return info.value;
    }
  });
  const timer = window.setInterval(() => void refetch(), REFRESH_MS);
  onCleanup(() => window.clearInterval(timer));
  return { value: () => (value.latest?.of === source() ? value.latest?.answer : undefined), problem };
}

/** The market of a network: what is traded, at which price, and how certain that is. */
export function Page() {
  const [chosen, choose] = createSignal<number>();
  const [interval, setLength] = createSignal<Interval>("1m");
  const always = () => true;
  const resources = createReader(always, indexer.resources);
  const current = () => {
    const all = resources.value()?.data ?? [];
    return all.find((resource) => resource.id === chosen()) ?? all.find((resource) => resource.last) ?? all[0];
  };
  const id = createMemo(() => current()?.id);
  const candlesOf = createMemo(() => {
    const resource = id();
    return resource === undefined ? undefined : { resource, length: interval() };
  });
  const candles = createReader(candlesOf, ({ resource, length }) => indexer.candles(resource, length));
  const trades = createReader(id, indexer.trades);
  const batches = createReader(always, indexer.batches);
  const problem = () => [resources, candles, trades, batches].map((reader) => reader.problem()).find(Boolean);

  return (
    <>
      <header>
        <h1>
          <img src="/icon.svg" alt="" width="28" height="28" /> Capa
        </h1>
        <nav aria-label="Documentation">
          <a href="/docs/">API</a>
          <a href="/openapi.json">OpenAPI</a>
          <a href="/schema.graphql">GraphQL</a>
        </nav>
      </header>
      <main>
        <Show when={problem()}>
          {(text) => (
            <p class="problem" role="alert">
              {text()}. Trying again.
            </p>
          )}
        </Show>
        <Resources all={resources.value()?.data} current={id()} choose={choose} />
        <Show when={current()}>
          {(resource) => (
            <section aria-labelledby="prices">
              <div class="heading">
                <h2 id="prices">{resource().name}</h2>
                <label>
                  Candles of{" "}
                  <select value={interval()} onChange={(event) => setLength(event.currentTarget.value as Interval)}>
                    <For each={INTERVALS}>{(length) => <option value={length}>{length}</option>}</For>
                  </select>
                </label>
              </div>
              <Chart
                candles={candles.value()?.data.candles ?? []}
                label={`Price of ${resource().name}, pending and proven trades; the trades are listed below`}
              />
              <Trades trades={trades.value()?.data} resource={resource()} />
            </section>
          )}
        </Show>
        <Batches batches={batches.value()?.data} />
      </main>
      <footer>
        <AsOfLine asOf={trades.value()?.asOf ?? resources.value()?.asOf} />
      </footer>
    </>
  );
}

function Resources(props: { all: Resource[] | undefined; current: number | undefined; choose: (id: number) => void }) {
  return (
    <section aria-labelledby="resources">
      <h2 id="resources">Resources</h2>
      <Switch fallback={<p class="empty">Reading the indexer…</p>}>
        <Match when={props.all?.length === 0}>
          <p class="empty">The catalog has no resources yet.</p>
        </Match>
        <Match when={props.all}>
          {(all) => (
            <ul class="resources">
              <For each={all()}>
                {(resource) => (
                  <li>
                    <button
                      type="button"
                      aria-pressed={props.current === resource.id}
                      onClick={() => props.choose(resource.id)}
                    >
                      <span class="name">{resource.name}</span>
                      <Show when={resource.last} fallback={<span class="quiet">no trade yet</span>}>
                        {(last) => (
                          <>
                            <span class="price">{capa(last().price)} CAPA</span>
                            <span class="quiet">
                              per {humanUnit(resource.unit, resource.scale)}, <FinalityLabel of={last().finality} />
                            </span>
                          </>
                        )}
                      </Show>
                    </button>
                  </li>
                )}
              </For>
            </ul>
          )}
        </Match>
      </Switch>
    </section>
  );
}

function Trades(props: { trades: Trade[] | undefined; resource: Resource }) {
  return (
    <div class="scroll" tabindex="0" role="region" aria-label="Latest trades">
      <table>
        <caption>Latest trades</caption>
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col" class="number">
              CAPA per {humanUnit(props.resource.unit, props.resource.scale)}
            </th>
            <th scope="col" class="number">
              {props.resource.unit}
            </th>
            <th scope="col" class="number">
              CAPA paid
            </th>
            <th scope="col">Provider</th>
            <th scope="col">Finality</th>
          </tr>
        </thead>
        <tbody>
          <For
            each={props.trades ?? []}
            fallback={
              <tr>
                <td colspan="6" class="empty">
                  {props.trades ? "No trades yet." : "Reading…"}
                </td>
              </tr>
            }
          >
            {(trade) => (
              <tr>
                <td>{moment(trade.at)}</td>
                <td class="number">{capa(trade.price)}</td>
                <td class="number">{count(trade.quantity)}</td>
                <td class="number">{capa(trade.amount)}</td>
                <td>
                  <a href={`/v1/providers/${trade.provider}`} title={trade.provider}>
                    {short(trade.provider)}
                  </a>
                </td>
                <td>
                  <FinalityLabel of={trade.finality} />{" "}
                  <a href={`/v1/trades/${trade.keeper}/${trade.batch}/${trade.index}/proof`}>proof</a>
                </td>
              </tr>
            )}
          </For>
        </tbody>
      </table>
    </div>
  );
}

function Batches(props: { batches: Batch[] | undefined }) {
  return (
    <section aria-labelledby="batches">
      <h2 id="batches">Batches</h2>
      <div class="scroll" tabindex="0" role="region" aria-label="Latest batches">
        <table>
          <caption>Latest batches of all keepers</caption>
          <thead>
            <tr>
              <th scope="col">Keeper</th>
              <th scope="col" class="number">
                Batch
              </th>
              <th scope="col">Committed</th>
              <th scope="col" class="number">
                CAPA
              </th>
              <th scope="col" class="number">
                Lines
              </th>
              <th scope="col">Finality</th>
            </tr>
          </thead>
          <tbody>
            <For
              each={props.batches ?? []}
              fallback={
                <tr>
                  <td colspan="6" class="empty">
                    {props.batches ? "No batch was committed yet." : "Reading…"}
                  </td>
                </tr>
              }
            >
              {(batch) => (
                <tr>
                  <td title={batch.keeper}>{short(batch.keeper)}</td>
                  <td class="number">
                    <a href={`/v1/batches/${batch.keeper}/${batch.number}`}>{batch.number}</a>
                  </td>
                  <td>{moment(batch.committedAt)}</td>
                  <td class="number">{capa(batch.sum)}</td>
                  <td class="number">
                    {batch.lineCount}
                    <Show when={batch.lines !== "verified"}>
                      {" "}
                      <span class="finality void" title={batch.linesProblem ?? "not fetched yet"}>
                        {batch.lines}
                      </span>
                    </Show>
                  </td>
                  <td>
                    <FinalityLabel of={batch.finality} />
                    <Show when={batch.openChallenges > 0}> {batch.openChallenges} challenged</Show>
                  </td>
                </tr>
              )}
            </For>
          </tbody>
        </table>
      </div>
    </section>
  );
}

function AsOfLine(props: { asOf: AsOf | undefined }) {
  return (
    <Show when={props.asOf} fallback={<p>Nothing is indexed yet.</p>}>
      {(asOf) => (
        <p>
          As of block {asOf().block.toLocaleString("en-US")}{" "}
          <span class="quiet" title={asOf().hash}>
            {short(asOf().hash)}
          </span>
          , {moment(asOf().timestamp)}.
        </p>
      )}
    </Show>
  );
}
