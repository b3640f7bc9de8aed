import solid from "vite-plugin-solid";
import { defineConfig } from "vitest/config";

// During development the page is served by vite and reads from an indexer that runs beside it.
const indexer = process.env.CAPA_INDEXER_URL ?? "http://127.0.0.1:8750";

export default defineConfig({
  plugins: [solid()],
  build: { target: "es2022", assetsInlineLimit: 0 },
  server: { proxy: { "/v1": indexer, "/graphql": indexer, "/docs": indexer, "/openapi.json": indexer } },
  test: { environment: "jsdom", include: ["tests/**/*.test.{ts,tsx}"], server: { deps: { inline: [/solid-js/] } } },
});
