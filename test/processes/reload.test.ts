import assert from "node:assert/strict"
import { once } from "node:events"
import { createServer } from "node:net"
import { describe, it } from "node:test"
import { freePort } from "../support/free-port.ts"
import { childrenOf, eventually, get, type Several, serveSeveral, startLoad } from "./several.ts"

const RELOADED = /the configuration was reloaded/
const REFUSED = /nothing was reloaded/

describe("SIGHUP, with several processes", () => {
  it("puts a changed plugin into service in all of them without a failed request", async () => {
    await using server = await serveSeveral()
    await using load = startLoad(server.url, 8)
    await server.edit("plugins/who/index.js", '"x-version", "1"', '"x-version", "2"')
    await hangUp(server, RELOADED)
    await everyVersion(server, "2")
    await load.stop()
    assert.deepEqual(load.failures, [])
    const [report] = server.logged(RELOADED)
    assert.deepEqual([report!.by, report!.loaded, report!.replaced], ["SIGHUP", ["who"], false])
  })

  it("changes nothing anywhere when the plugin does not load any more, and says why", async () => {
    await using server = await serveSeveral()
    await server.edit("plugins/who/index.js", "export function onResponse", "export function onResponse(((")
    await hangUp(server, REFUSED)
    const [refusal] = server.logged(REFUSED)
    assert.equal(refusal!.code, "E_PLUGIN_LOAD_FAILED")
    assert.match(String(refusal!.msg), /index\.js:\d+:\d+/)
    await everyVersion(server, "1")
    const { lastReload } = await server.status()
    assert.ok(lastReload !== null && !lastReload.ok && lastReload.code === "E_PLUGIN_LOAD_FAILED")
  })

  it("survives a storm under load: no request fails, and what was last asked for serves", async () => {
    await using server = await serveSeveral()
    await using load = startLoad(server.url, 8)
    for (let count = 0; count < 50; count++) {
      process.kill(server.pid, "SIGHUP")
      if (count === 25) await server.edit("plugins/who/index.js", '"x-version", "1"', '"x-version", "2"')
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await hangUp(server, RELOADED)
    await everyVersion(server, "2")
    await load.stop()
    assert.deepEqual(load.failures, [])
    const reloads = server.logged(RELOADED).length
    assert.ok(reloads >= 2 && reloads <= 51, `${reloads} reloads`)
  })

  it("keeps the old configuration when the file is nonsense, also for a process that starts again", async () => {
    await using server = await serveSeveral()
    await server.edit("bext.config.toml", "[app]", "[app\nnonsense")
    await hangUp(server, REFUSED)
    const [first] = await server.serving(2)
    process.kill(first!.pid, "SIGKILL")
    await eventually(async () => (await server.serving(2)).every(({ pid }) => pid !== first!.pid), "another serves")
    await everyVersion(server, "1")
    assert.equal(server.logged(REFUSED)[0]!.code, "E_CONFIG_INVALID")
  })

  it("starts a process with what finally serves when it ends in the middle", async () => {
    await using server = await serveSeveral()
    for (let version = 1; version < 6; version++) {
      await server.edit("plugins/who/index.js", `"x-version", "${version}"`, `"x-version", "${version + 1}"`)
      const settled = server.logged(/reloaded/).length
      process.kill(server.pid, "SIGHUP")
      const [first] = await server.serving(2)
      process.kill(first!.pid, "SIGKILL")
      await eventually(() => server.logged(/reloaded/).length > settled, "the reload is over")
      await eventually(async () => (await server.serving(2)).every(({ pid }) => pid !== first!.pid), "another serves")
      if (server.logged(/reloaded/).at(-1)!.level === "error") await hangUp(server, RELOADED)
      await everyVersion(server, String(version + 1))
    }
  })

  it("replaces the processes one after the other when it must, without a failed request", async () => {
    await using server = await serveSeveral()
    const before = (await server.serving(2)).map(({ pid }) => pid)
    await using load = startLoad(server.url, 8)
    await eventually(() => load.answered > 100, "load")
    await server.edit("bext.config.toml", 'grace = "5s"', 'grace = "6s"')
    await hangUp(server, RELOADED)
    await eventually(() => load.processes.size === 4, "the new processes answer")
    await load.stop()
    assert.deepEqual(load.failures, [])
    const after = (await server.serving(2)).map(({ pid }) => pid)
    assert.equal(new Set([...before, ...after]).size, 4)
    assert.equal(server.logged(RELOADED)[0]!.replaced, true)
    assert.deepEqual(childrenOf(server.pid).sort(), after.toSorted())
    assert.equal(server.logged(/a serving process ended/).length, 0)
  })

  it("keeps the old processes when the new ones cannot start, without a failed request", async () => {
    await using server = await serveSeveral()
    const before = (await server.serving(2)).map(({ pid }) => pid)
    await using load = startLoad(server.url, 4)
    await server.edit("bext.config.toml", 'grace = "5s"', 'grace = "6s"')
    await server.edit("plugins/who/index.js", "export function onResponse", "export function onResponse(((")
    await hangUp(server, REFUSED)
    await load.stop()
    assert.deepEqual(load.failures, [])
    const after = (await server.serving(2)).map(({ pid }) => pid)
    assert.deepEqual(after, before)
    assert.equal(server.logged(REFUSED)[0]!.code, "E_PLUGIN_LOAD_FAILED")
  })

  it("moves to another address, or stays where it is when that one is taken", async () => {
    await using server = await serveSeveral()
    const other = createServer().listen(0, "127.0.0.1")
    await once(other, "listening")
    const taken = `127.0.0.1:${(other.address() as { port: number }).port}`
    await server.edit("bext.config.toml", "127.0.0.1:0", taken)
    await hangUp(server, REFUSED)
    other.close()
    assert.equal(server.logged(REFUSED)[0]!.code, "E_PORT_IN_USE")
    assert.equal((await get(server.url)).status, 200)
    const free = `127.0.0.1:${await freePort()}`
    await server.edit("bext.config.toml", taken, free)
    await hangUp(server, RELOADED)
    assert.equal((await get(`http://${free}`)).status, 200)
    await assert.rejects(get(server.url), { code: "ECONNREFUSED" })
    assert.equal((await server.status()).url, `http://${free}`)
  })

  it("changes what is logged, by the supervisor too", async () => {
    await using server = await serveSeveral()
    await server.edit("bext.config.toml", 'format = "json"', 'format = "json"\nlevel = "error"')
    process.kill(server.pid, "SIGHUP")
    await eventually(async () => (await server.status()).lastReload?.ok === true, "it is reloaded")
    const [first] = await server.serving(2)
    process.kill(first!.pid, "SIGKILL")
    await eventually(async () => (await server.serving(2)).every(({ pid }) => pid !== first!.pid), "another serves")
    assert.equal(server.logged(/a serving process ended/).length, 1)
    assert.deepEqual(server.logged(/was started again|was reloaded/), [])
  })

  it("grows and shrinks to the number of processes", async () => {
    await using server = await serveSeveral()
    const before = (await server.serving(2)).map(({ pid }) => pid)
    await server.edit("bext.config.toml", "processes = 2", "processes = 3")
    await hangUp(server, RELOADED)
    const three = (await server.serving(3)).map(({ pid }) => pid)
    assert.deepEqual(three.slice(0, 2), before)
    await using load = startLoad(server.url, 6)
    await eventually(() => load.processes.size === 3, "all answer")
    await server.edit("bext.config.toml", "processes = 3", "processes = 1")
    await hangUp(server, RELOADED)
    const [last] = await server.serving(1)
    assert.equal(last!.pid, before[0])
    await load.stop()
    assert.deepEqual(load.failures, [])
    await eventually(async () => childrenOf(server.pid).length === 1, "one is left")
  })
})

/** Sends SIGHUP and waits until one more line says what came of it. */
async function hangUp(server: Several, message: RegExp): Promise<void> {
  const before = server.logged(message).length
  process.kill(server.pid, "SIGHUP")
  await eventually(() => server.logged(message).length > before, `it is logged: ${message}\n${server.output()}`)
}

/** Each process answers with this version of the plugin. */
async function everyVersion(server: Several, version: string): Promise<void> {
  const processes = new Set<string>()
  await eventually(async () => {
    const { headers } = await get(server.url)
    assert.equal(headers["x-version"], version)
    processes.add(String(headers["x-process"]))
    return processes.size === 2
  }, "both answered")
}
