import assert from "node:assert/strict"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, it, type TestContext } from "node:test"
import { createConfig } from "../../src/config/parse-config.ts"
import { createServer } from "../../src/create-server.ts"
import { probeIsolation } from "../../src/create-tiers.ts"
import { IpcBus } from "../../src/processes/ipc-bus.ts"
import { eventually } from "../processes/several.ts"
import { createProject } from "../support/serve.ts"
import { program } from "./program-files.ts"
import { recordingLogger } from "./recording-logger.ts"

/** Writes down when it begins and ends; "wait" in its folder makes it slow to start. */
const AUDIT = `
HOOKS = ["onServerStart", "onRequestComplete", "cleanup"]
def answer(method, params):
    with open("/data/log", "a") as file: file.write(method + "\\n")
    if method == "onServerStart":
        if os.path.exists("/plugin/wait"): time.sleep(0.3)
        if os.path.exists("/plugin/fail"): raise SystemExit(1)
`

const isolation = await probeIsolation()
const skip = isolation.level === "process" && "this machine isolates nothing"

/** One serving process of several, in this one. */
async function serveOne(t: TestContext, leader: boolean, files: Readonly<Record<string, string>> = {}) {
  const project = createProject({ ...program("audit", AUDIT, '"lifecycle"', "data_dir = true"), ...files })
  t.after(() => project[Symbol.dispose]())
  const { folder } = project
  const config = (more: object = {}) =>
    createConfig(
      {
        server: { listen: "127.0.0.1:0", grace: "1s" },
        plugins: { audit: { config: more as Record<string, string> } },
      },
      { folder, env: {} },
    )
  const { logger, lines } = recordingLogger()
  const bus = new IpcBus(() => {}, { error: () => assert.fail("the bus refused a message") })
  const server = await createServer(config(), { folder, logger, leader, bus })
  t.after(() => server.close())
  await server.listen()
  const log = () => {
    try {
      const place = join(folder, ".bext/nsjail")
      const text = readFileSync(join(place, readdirSync(place)[0]!, "data/log"), "utf8")
      return text.split("\n").filter((line) => line !== "")
    } catch {
      return []
    }
  }
  const audit = () => server.status().plugins.find(({ name }) => name === "audit")!
  return { server, config, lines, log, audit }
}

describe("a program that only listens, in one of several processes", { skip, concurrency: 2 }, () => {
  it("is not started before that process leads, and ends when it leads no more", async (t) => {
    const { server, log, audit } = await serveOne(t, false)
    assert.deepEqual([log(), audit().instances, audit().hooks], [[], 0, []])
    await server.setLeader(true)
    await eventually(() => log().length === 1, "it has begun")
    await eventually(() => audit().instances === 1, "it runs")
    await server.setLeader(false)
    assert.deepEqual([log(), audit().instances], [["onServerStart", "cleanup"], 0])
    assert.ok(audit().program!.cpuMs > 0, "what it used is not forgotten")
  })

  it("begins and ends in turn, however fast the lead comes and goes", async (t) => {
    const { server, log, audit } = await serveOne(t, true, { "plugins/audit/wait": "" })
    for (const leader of [false, true, false, true, false, true, false]) void server.setLeader(leader)
    await server.setLeader(true)
    await eventually(() => audit().instances === 1 && log().at(-1) === "onServerStart", "it runs in the end")
    for (const [index, line] of log().entries()) assert.equal(line, index % 2 === 0 ? "onServerStart" : "cleanup")
    await server.close()
    assert.equal(log().at(-1), "cleanup")
  })

  it("that loses the lead while it starts has ended when that was said", async (t) => {
    const { server, log, audit } = await serveOne(t, false, { "plugins/audit/wait": "" })
    void server.setLeader(true)
    await eventually(() => log().length === 1, "it is about to begin")
    await server.setLeader(false)
    assert.deepEqual([log(), audit().instances], [["onServerStart", "cleanup"], 0])
  })

  it("goes on when the snapshot that would replace it is thrown away", async (t) => {
    const { server, config, log, audit } = await serveOne(t, true)
    const prepared = await server.prepare(config({ other: "setting" }))
    assert.deepEqual(prepared.loaded, ["audit"])
    await prepared.abort()
    assert.deepEqual(log(), ["onServerStart", "onServerStart", "cleanup"])
    assert.equal(audit().instances, 1)
    await server.setLeader(false)
    assert.deepEqual([log().slice(3), audit().instances], [["cleanup"], 0])
  })

  it("begins as the new one alone, when the lead comes while one is being replaced", async (t) => {
    const { server, config, log, audit } = await serveOne(t, false)
    const prepared = await server.prepare(config({ other: "setting" }))
    await server.setLeader(true)
    await eventually(() => log().length === 1, "one has begun")
    prepared.commit()
    await eventually(() => server.status().retiring === 0, "the old one is gone")
    assert.deepEqual([log(), audit().instances], [["onServerStart"], 1])
  })

  it("that is replaced by nothing begins again as it was", async (t) => {
    const { server, config, log, audit } = await serveOne(t, false)
    const prepared = await server.prepare(config({ other: "setting" }))
    await server.setLeader(true)
    await eventually(() => log().length === 1, "the new one has begun")
    await prepared.abort()
    await eventually(() => audit().instances === 1, "the old one has begun instead")
    assert.deepEqual(log(), ["onServerStart", "cleanup", "onServerStart"])
  })

  it("ends with its server although it cannot be started and is about to be tried again", async (t) => {
    const { server, lines, log } = await serveOne(t, false, { "plugins/audit/fail": "" })
    await server.setLeader(true)
    await eventually(() => lines.some(({ msg }) => /could not be started .* tried again in 1 s/.test(msg)), "said so")
    await server.close()
    const attempts = log().length
    assert.ok(attempts >= 1)
    assert.deepEqual(new Set(log()), new Set(["onServerStart"]))
  })
})
