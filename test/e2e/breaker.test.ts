import assert from "node:assert/strict"
import { test } from "node:test"
import { setTimeout as delay } from "node:timers/promises"
import { serve } from "../support/serve.ts"

/** Fails when it is told to, and answers itself otherwise. */
const MOODY = `export function onRequest(ctx) {
  if (ctx.headers.get("x-mood") === "bad") throw new Error("no")
  return { action: "respond", status: 200, headers: [], body: "fine" }
}`

const moody = (extra = "") =>
  serve(
    `[plugins.moody]\npath = "moody.js"\n${extra}\n[app]\nstatic = "public"\n`,
    { "moody.js": MOODY },
    `trusted_proxies = ["127.0.0.1"]`,
  )

/** As the client with this address, through the trusted proxy that this test is. */
function get(url: string, client: string, mood = "good"): Promise<Response> {
  return fetch(url, { headers: { "x-forwarded-for": client, "x-mood": mood, accept: "application/json" } })
}

async function failForManyClients(url: string): Promise<void> {
  for (let i = 0; i < 60; i++) await (await get(url, `192.0.2.${i % 6}`, "bad")).text()
}

test("a plugin that fails for many clients is not called any more, and is tried again until it works", async () => {
  await using server = await moody()
  await failForManyClients(server.url)
  const refused = await get(server.url, "198.51.100.1")
  assert.equal(refused.status, 503)
  const problem = (await refused.json()) as { code: string }
  assert.equal(problem.code, "E_PLUGIN_QUARANTINED")
  let status = 503
  for (let i = 0; i < 300 && status !== 200; i++) {
    await delay(100)
    const again = await get(server.url, "198.51.100.1")
    await again.text()
    status = again.status
  }
  assert.equal(status, 200)
})

test("a quarantined plugin that fails open is skipped, and the app answers", async () => {
  await using server = await moody(`on_error = "open"`)
  await failForManyClients(server.url)
  const response = await get(server.url, "198.51.100.1")
  assert.equal(response.status, 200)
  assert.match(await response.text(), /<h1>home/)
})

test("one crafted request, repeated by one client, does not switch a plugin off for everybody", async () => {
  await using server = await moody()
  for (let i = 0; i < 300; i++) {
    const failed = await get(server.url, `2001:db8::${i.toString(16)}`, "bad")
    await failed.text()
    assert.equal(failed.status, 502)
  }
  const other = await get(server.url, "198.51.100.1")
  assert.equal(await other.text(), "fine")
})

test("what a quarantine says of the plugin's failures stays out of the answer", async () => {
  await using server = await moody()
  await failForManyClients(server.url)
  const refused = await get(server.url, "198.51.100.1")
  assert.doesNotMatch(await refused.text(), /moody|calls failed|192\.0\.2/)
})

test("one client that fills a plugin's lane does not have it taken out of service for everybody it kept out", async () => {
  const source = `export function onRequest(ctx) {
    if (ctx.path === "/burn") for (const end = Date.now() + 40; Date.now() < end; );
    return new Response("fine")
  }`
  await using server = await serve(
    `[plugins.slow]\npath = "slow.js"\nlane = "worker"\n[app]\nstatic = "public"\n`,
    { "slow.js": source },
    `trusted_proxies = ["127.0.0.1"]`,
  )
  assert.equal(await (await get(server.url, "198.51.100.1")).text(), "fine")
  let flooding = true
  const flood = Array.from({ length: 80 }, async () => {
    while (flooding) await (await get(`${server.url}/burn`, "192.0.2.1")).text()
  })
  const codes: string[] = []
  while (codes.filter((code) => code === "E_LANE_FULL").length < 60 && codes.length < 300) {
    const response = await get(server.url, `198.51.${codes.length % 12}.1`)
    const text = await response.text()
    codes.push(response.status === 503 ? (JSON.parse(text) as { code: string }).code : text)
  }
  flooding = false
  await Promise.all(flood)
  assert.ok(!codes.includes("E_PLUGIN_QUARANTINED"))
  assert.equal(await (await get(server.url, "198.51.100.1")).text(), "fine")
})
