import assert from "node:assert/strict"
import { request } from "node:http"
import { text } from "node:stream/consumers"
import { it } from "node:test"
import { SignJWT } from "jose"
import { eventually, get, type Several, serveSeveral } from "../processes/several.ts"
import { startLoginApp } from "../support/login-app.ts"
import { FAKETIME, missing } from "../support/programs.ts"
import { createProject } from "../support/serve.ts"
import { createFakeClock } from "./fake-clock.ts"
import { NEIGHBOUR, NEIGHBOUR_SECTION, startNeighbours } from "./neighbours.ts"
import { logIn, logOut, whoAmI } from "./sessions.ts"
import { unharmed } from "./unharmed.ts"

const ENV = {
  FAULTS_SESSION_KEY: "a key of more than 32 bytes for the sessions of one test",
  FAULTS_JWT_SECRET: "a secret long enough for HS256 to be taken",
}

it("steps of the clock by hours lock nobody out or in for longer, repeat nothing, and fail no request", {
  skip: missing(FAKETIME),
}, async (t) => {
  using clockFolder = createProject({})
  const clock = createFakeClock(clockFolder.folder)
  await using app = await startLoginApp()
  await using site = await serveSeveral({
    config: configOf(app.origin),
    files: { ...NEIGHBOUR, ...CLOCK },
    env: { ...ENV, ...clock.env },
  })
  await site.serving(2)
  const step = async (hours: number) => {
    clock.set(hours)
    await bothSay(site, hours)
  }
  const call = async (what: string) => (await get(`${site.url}/clock/${what}`)).body
  const token = await new SignJWT()
    .setSubject("ada")
    .setExpirationTime("1h")
    .setProtectedHeader({ alg: "HS256" })
    .sign(new TextEncoder().encode(ENV.FAULTS_JWT_SECRET))
  const byToken = async () => {
    const response = await fetch(`${site.url}/private`, { headers: { authorization: `Bearer ${token}` } })
    await response.text()
    return response.status
  }
  await step(0)
  await using neighbours = startNeighbours(site.url)
  const limited = async () => (await get(`${site.url}/limited`)).status
  await eventually(async () => (await limited()) === 429, "the limit of an hour is reached")
  const before = await logIn(site.url)
  await call("ttl?hour=3600000")
  await call("push?in-an-hour=3600000")
  await call("push?long=0")
  assert.equal(await byToken(), 200)
  assert.equal(await call("has?hour"), "true")

  await step(2)
  assert.equal(await byToken(), 401, "the token is over")
  assert.equal(await call("has?hour"), "false", "so is the time to live of an hour")
  assert.equal(await limited(), 429, "nobody is let out of a limit by the clock")
  assert.equal(await whoAmI(site.url, before), "ada", "the session lasts a day")
  const late = await logIn(site.url)
  await call("push?two-seconds=2000")
  await tripBreaker(site)

  await step(-3)
  assert.equal(await limited(), 429)
  assert.equal(await byToken(), 200, "the token is good again")
  assert.deepEqual([await whoAmI(site.url, before), await whoAmI(site.url, late)], [null, null], "from the future")
  const early = await logIn(site.url)
  assert.equal(await whoAmI(site.url, early), "ada", "who logs in again is in at once")
  await call("ttl?short=1000")
  await eventually(async () => (await call("has?short")) === "false", "a time to live of a second is over")
  await eventually(async () => (await moody(site, "127.0.0.77", "good")) === 200, "the breaker tries again in time")
  await eventually(async () => (await get(`${site.url}/short`)).status === 429, "a limit of a second is reached")
  await eventually(async () => (await get(`${site.url}/short`)).status === 200, "and is over")
  assert.equal((await logOut(site.url, early)).status, 303)

  await step(0)
  assert.equal(await whoAmI(site.url, before), "ada", "the session from before is as it was")
  assert.equal(await whoAmI(site.url, early), null, "what was ended stays ended")
  await eventually(async () => (await call("done")).split(" ").length === 3, "all messages came")
  assert.equal(await call("done"), "in-an-hour:1 long:1 two-seconds:1", "each of them once")
  const { processes } = await site.status()
  assert.deepEqual(
    processes.map(({ crashes }) => crashes),
    [0, 0],
  )
  t.diagnostic(`${site.output().split("\n").length} lines of log`)
  await unharmed(t, neighbours)
  assert.equal(await site.end("SIGTERM"), 0)
})

const configOf = (upstream: string) => `${NEIGHBOUR_SECTION}
[queues.jobs]
visibility_timeout = "2s"
[middleware.rate_limit]
requests = 1_000_000
window = "1h"
rules = [
  { path = "/limited", requests = 5, window = "1h" },
  { path = "/short", requests = 2, window = "1s" },
]
[middleware.auth]
algorithms = ["HS256"]
secret = "env:FAULTS_JWT_SECRET"
public = ["/", "/limited", "/short", "/neighbour/**", "/clock/**", "/moody", "/login", "/logout", "/whoami"]
[middleware.session]
secrets = ["env:FAULTS_SESSION_KEY"]
login_paths = ["/login", "/logout"]
[plugins.moody]
match = [{ path = "/moody" }]
[plugins.clock]
grant = { queues = ["jobs"] }
${["login", "logout", "whoami"].map((path) => `[[routes]]\npath = "/${path}"\nupstream = "${upstream}"\nforward_user = true\n`).join("")}`

const CLOCK = {
  "plugins/moody/plugin.toml": `[manifest]\nname = "moody"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n`,
  "plugins/moody/index.js": `export function onRequest(ctx) {
  if (ctx.headers.get("x-mood") === "bad") throw new Error("no")
  return new Response("fine")
}`,
  "plugins/clock/plugin.toml": `[manifest]
name = "clock"
version = "1.0.0"
capabilities = ["middleware", "lifecycle"]
[permissions]
queues = ["jobs"]
`,
  "plugins/clock/index.js": `
export async function onRequest({ path, query }) {
  const [key, value] = query.split("=")
  switch (path) {
    case "/limited": case "/short": case "/private": return new Response("here")
    case "/clock/now": return new Response(String(Date.now()))
    case "/clock/has": return new Response(String(bext.storage.get(key) !== null))
    case "/clock/ttl":
      bext.storage.set(key, "x", { ttlMs: Number(value) })
      await bext.storage.flush()
      return new Response("set")
    case "/clock/push": return new Response(await bext.queue.push("jobs", key, { delayMs: Number(value) }))
    case "/clock/done":
      return new Response(bext.storage.keys("done ").map((done) => done.slice(5) + ":" + bext.storage.get(done)).join(" "))
  }
}
export async function onQueueMessage({ value }) {
  // Longer than a lease, which is prolonged.
  if (value === "long") await new Promise((later) => setTimeout(later, 5000))
  await bext.storage.incr("done " + value)
}`,
}

/** Waits until both processes have that time, which they look up once a second. */
async function bothSay(site: Several, hours: number): Promise<void> {
  const processes = new Set<unknown>()
  await eventually(async () => {
    const { body, headers } = await get(`${site.url}/clock/now`)
    const offMs = Number(body) - Date.now() - hours * 3_600_000
    if (Math.abs(offMs) < 60_000) processes.add(headers["x-process"])
    return processes.size === 2
  }, `both processes are ${hours} hours off`)
}

/** Has the plugin fail for many clients, until it is out of service in both processes. */
async function tripBreaker(site: Several): Promise<void> {
  await eventually(async () => {
    for (let n = 0; n < 40; n++) await moody(site, `127.0.0.${2 + (n % 10)}`, "bad")
    const { processes } = await site.status()
    return processes.every(({ plugins }) => plugins.find(({ name }) => name === "moody")!.quarantine !== null)
  }, "the plugin is out of service")
}

/** @returns The status. @param localAddress - Of the client. */
async function moody({ url }: Several, localAddress: string, mood: string): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  request(`${url}/moody`, { localAddress, agent: false, headers: { "x-mood": mood } }, (response) => {
    text(response).then(() => resolve(response.statusCode!), reject)
  })
    .on("error", reject)
    .end()
  return promise
}
