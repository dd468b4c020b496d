import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { childrenOf, eventually, get, serveSeveral, startLoad } from "./several.ts"

describe("bext serve with one process", () => {
  it("has no supervisor, leads, and reloads on SIGHUP without a failed request", async () => {
    await using server = await serveSeveral({ processes: 1 })
    assert.deepEqual(childrenOf(server.pid), [])
    assert.equal((await get(server.url)).headers["x-leader"], "true")
    await using load = startLoad(server.url, 4)
    await server.edit("plugins/who/index.js", '"x-version", "1"', '"x-version", "2"')
    process.kill(server.pid, "SIGHUP")
    await eventually(() => server.logged(/the configuration was reloaded/).length > 0, "it is reloaded")
    assert.equal((await get(server.url)).headers["x-version"], "2")
    await load.stop()
    assert.deepEqual(load.failures, [])
  })

  it("refuses what only new processes could change, and names the fields", async () => {
    await using server = await serveSeveral({ processes: 1 })
    await server.edit("bext.config.toml", 'grace = "5s"', 'grace = "6s"')
    process.kill(server.pid, "SIGHUP")
    await eventually(() => server.logged(/nothing was reloaded/).length === 1, "it is refused")
    await server.edit("bext.config.toml", 'grace = "6s"', 'grace = "5s"')
    await server.edit("bext.config.toml", "processes = 1", "processes = 2")
    process.kill(server.pid, "SIGHUP")
    await eventually(() => server.logged(/nothing was reloaded/).length === 2, "it is refused")
    const [grace, processes] = server.logged(/nothing was reloaded/)
    for (const { code } of [grace!, processes!]) assert.equal(code, "E_RELOAD_NEEDS_RESTART")
    assert.match(String(grace!.msg), /server\.grace/)
    assert.match(String(processes!.msg), /server\.processes/)
    assert.equal((await get(server.url)).status, 200)
  })
})
