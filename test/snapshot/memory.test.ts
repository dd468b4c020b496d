import assert from "node:assert/strict"
import { it } from "node:test"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { ENV, plugin, serveSite, until } from "./site.ts"

const MIB = 1024 * 1024
const RELOADS = 40

it("a snapshot that is over is not kept in memory by the next one, nor one that never served", async () => {
  ENV.JWT_SECRET = "x".repeat(64)
  setFlagsFromString("--expose-gc")
  const collect = runInNewContext("gc") as () => void
  const config = (n: number) => `
    [errors]
    404 = "404.html"
    [middleware.auth]
    algorithms = ["HS256"]
    secret = "env:JWT_SECRET"
    public = ["/**"]
    issuer = "${n}"
    [plugins.probe]
    [plugins.probe.config]
    n = ${n % 2}`
  await using site = await serveSite(config(0), {
    "404.html": "0",
    ...plugin("probe", "export function onRequest() {}"),
  })
  const usedBytes = async () => {
    await until(() => site.server.status().retiring === 0, "all are gone")
    for (let i = 0; i < 3; i++) {
      collect()
      await new Promise((turn) => setImmediate(turn))
    }
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
  const reload = async (n: number) => {
    // Each snapshot holds its error pages: a mebibyte that nothing else has.
    site.write({ "404.html": String(n).padEnd(MIB, "x") })
    await (await site.prepare(config(n))).abort()
    await assert.rejects(site.prepare(`${config(n)}\n[plugins.nowhere]`), { code: "E_PLUGIN_NOT_FOUND" })
    await site.reload(config(n))
    await site.get("/nothing", { accept: "text/html" })
  }
  for (let n = 1; n <= 5; n++) await reload(n)
  const before = await usedBytes()
  for (let n = 6; n <= 5 + RELOADS; n++) await reload(n)
  const grownMib = ((await usedBytes()) - before) / MIB
  assert.ok(grownMib < RELOADS / 4, `${grownMib.toFixed(1)} MiB more after ${RELOADS} reloads`)
})
