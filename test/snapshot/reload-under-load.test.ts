import assert from "node:assert/strict"
import { Agent, get } from "node:http"
import { it } from "node:test"
import { plugin, serveSite, until } from "./site.ts"

const RELOADS = 200
const CLIENTS = 8

const stamps = (version: number) =>
  plugin(
    "stamps",
    `export function onRequest(ctx) { ctx.extensions.set("version", "${version}") }
    export function onResponse(ctx) {
      if (ctx.extensions.get("stamps.version") !== "${version}") throw new Error("began with another snapshot")
      ctx.response.setHeader("x-version", "${version}")
    }`,
  )
const WAITS = plugin(
  "waits",
  "export async function onRequest() { await new Promise((later) => setTimeout(later, 1)) }",
)

it("200 reloads under load fail no request, mix no snapshots within one, and leave nothing behind", async () => {
  const config = (n: number) => `
    [app]
    static = "public"
    [plugins.stamps]
    [plugins.waits]
    [middleware.rate_limit]
    requests = 1_000_000
    window = "${1 + (n % 3)}h"`
  const files = { "public/index.html": "home", ...stamps(0), ...WAITS }
  await using site = await serveSite(config(0), files)
  const failures: unknown[] = []
  const seen = new Set<string>()
  let done = false
  const clients = Array.from({ length: CLIENTS }, async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    while (!done) {
      try {
        seen.add(await ask(site.url, agent))
      } catch (error) {
        failures.push(error)
      }
    }
    agent.destroy()
  })
  let most = 0
  for (let n = 1; n <= RELOADS; n++) {
    if (n % 2 === 0) site.write(stamps(n))
    const { kept } = await site.reload(config(n))
    assert.deepEqual(kept, n % 2 === 0 ? ["waits"] : ["stamps", "waits"])
    most = Math.max(most, site.server.status().retiring)
  }
  done = true
  await Promise.all(clients)
  assert.deepEqual(failures, [])
  assert.ok(seen.size > 10, `${seen.size} versions answered`)
  // Requests take milliseconds, so snapshots must not pile up while they are replaced.
  assert.ok(most < 50, `${most} snapshots at once`)
  await until(() => site.server.status().retiring === 0, "all are gone")
  assert.equal((await site.get()).headers["x-version"], String(RELOADS))
  const { snapshot, instances, requestsInFlight } = site.server.status()
  assert.deepEqual(
    { snapshot, instances, requestsInFlight },
    { snapshot: RELOADS + 1, instances: 2, requestsInFlight: 0 },
  )
})

/** @returns the version that answered. */
function ask(url: string, agent: Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, { agent }, (response) => {
      response.resume()
      response.on("error", reject)
      response.on("end", () => {
        if (response.statusCode === 200) resolve(String(response.headers["x-version"]))
        else reject(new Error(`status ${response.statusCode}`))
      })
    }).on("error", reject)
  })
}
