import assert from "node:assert/strict"
import { readdirSync, readFileSync, renameSync } from "node:fs"
import { describe, it } from "node:test"
import { probeIsolation } from "../../src/create-tiers.ts"
import { program } from "../plugins/program-files.ts"
import { eventually, get, type Several, serveSeveral } from "./several.ts"

/** Writes down what it is called for. Each program has a name of its own. */
const AUDIT = `
RUN = os.urandom(4).hex()
HOOKS = ["onServerStart", "onServerStop", "onRequestComplete", "onQueueMessage", "onReload", "cleanup"]
def answer(method, params):
    about = params.get("path") or params.get("value") if isinstance(params, dict) else None
    with open("/data/log", "a") as file: file.write(json.dumps([RUN, method, about]) + "\\n")
`

const FILES = program("audit", AUDIT, '"lifecycle"', "data_dir = true\n[permissions]\nqueues = ['mail']")
const CONFIG = "[plugins.audit]\ngrant = { queues = ['mail'] }\n"

interface Heard {
  readonly run: string
  readonly hook: string
  readonly about: string | null
}

function heard(server: Several): Heard[] {
  const place = server.project.path(".bext/nsjail")
  const [hash = ""] = readdirSync(place)
  try {
    const lines = readFileSync(`${place}/${hash}/data/log`, "utf8").split("\n").slice(0, -1)
    return lines.map((line) => {
      const [run, hook, about] = JSON.parse(line)
      return { run, hook, about }
    })
  } catch {
    return []
  }
}

const told = (server: Several, path: RegExp) =>
  heard(server).filter(({ hook, about }) => hook === "onRequestComplete" && path.test(about ?? ""))

const starts = (server: Several) => heard(server).filter(({ hook }) => hook === "onServerStart")

async function request(server: Several, prefix: string, count: number): Promise<void> {
  for (let index = 0; index < count; index++) assert.equal((await get(`${server.url}/${prefix}${index}`)).status, 404)
}

async function killLeader(server: Several): Promise<void> {
  const { processes } = await server.status()
  process.kill(processes.find(({ leader }) => leader)!.pid, "SIGKILL")
}

const isolation = await probeIsolation()
const skip = isolation.level === "process" && "this machine isolates nothing"

describe("a program that only listens", { skip }, () => {
  it("runs once, in the process that leads, and hears of the requests of all", async () => {
    await using server = await serveSeveral({ processes: 3, files: FILES, config: CONFIG })
    await request(server, "a", 60)
    await eventually(() => told(server, /^\/a/).length === 60, "it heard of all requests")
    assert.equal(new Set(heard(server).map(({ run }) => run)).size, 1)
    assert.equal(starts(server).length, 1)
    const { processes } = await server.status()
    const served = processes.map(({ leader, plugins }) => ({
      leader,
      instances: plugins.find(({ name }) => name === "audit")!.instances,
    }))
    assert.deepEqual(
      served.sort((a, b) => Number(b.leader) - Number(a.leader)),
      [
        { leader: true, instances: 1 },
        { leader: false, instances: 0 },
        { leader: false, instances: 0 },
      ],
    )
  })

  it("hears of those alone that it was matched to, wherever they were served", async () => {
    const config = `${CONFIG}match = [{ path = "/seen/**" }]\n`
    await using server = await serveSeveral({ files: FILES, config })
    await request(server, "seen/a", 10)
    await request(server, "other/a", 10)
    await request(server, "seen/b", 10)
    await eventually(() => told(server, /^\/seen\//).length === 20, "it heard of what it is for")
    assert.deepEqual(told(server, /^\/other/), [])
  })

  it("goes on in the next leader when the leader is killed, requests and messages alike", async () => {
    await using server = await serveSeveral({
      files: {
        ...FILES,
        "plugins/push/plugin.toml":
          '[manifest]\nname = "push"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n[permissions]\nqueues = ["mail"]\n',
        "plugins/push/index.js":
          'export async function onRequest(ctx) { if (ctx.path.startsWith("/push")) await bext.queue.push("mail", ctx.path) }',
      },
      config: `${CONFIG}[plugins.push]\ngrant = { queues = ["mail"] }\n`,
    })
    await request(server, "push/a", 4)
    const messages = () => heard(server).filter(({ hook }) => hook === "onQueueMessage")
    await eventually(() => messages().length === 4, "its messages arrived")
    for (let round = 1; round <= 2; round++) {
      await killLeader(server)
      await eventually(() => starts(server).length === round + 1, "another one was started")
      await server.serving(2)
      const { run } = starts(server).at(-1)!
      await request(server, `push/round${round}-`, 20)
      const path = new RegExp(`^/push/round${round}-`)
      await eventually(() => told(server, path).length === 20, "it hears of requests again")
      await eventually(() => messages().filter(({ about }) => path.test(about!)).length === 20, "and of messages")
      const since = heard(server).slice(heard(server).findIndex((line) => line.run === run))
      assert.deepEqual(
        [...new Set(since.map((line) => line.run))],
        [run],
        "the old one is gone before the new one starts",
      )
    }
  })

  it("has ended in the old leader before it begins in the new one, when the processes are replaced", async () => {
    await using server = await serveSeveral({ files: FILES, config: CONFIG })
    await server.edit("bext.config.toml", 'grace = "5s"', 'grace = "6s"')
    process.kill(server.pid, "SIGHUP")
    await eventually(() => server.logged(/the configuration was reloaded/).length > 0, "all are replaced")
    await eventually(() => starts(server).length >= 2, "another one was started")
    const [first] = heard(server)
    const lines = heard(server).filter(({ hook }) => hook === "cleanup" || hook === "onServerStart")
    assert.deepEqual(lines.slice(0, 2), [
      { run: first!.run, hook: "onServerStart", about: null },
      { run: first!.run, hook: "cleanup", about: null },
    ])
    assert.notEqual(lines[2]!.run, first!.run)
    await request(server, "after", 10)
    await eventually(() => told(server, /^\/after/).length === 10, "it hears of requests again")
  })

  it("goes on as it is in a reload that does not change it, and is replaced by one that does", async () => {
    await using server = await serveSeveral({ files: FILES, config: CONFIG })
    const reload = async (count: number) => {
      process.kill(server.pid, "SIGHUP")
      await eventually(() => server.logged(/the configuration was reloaded/).length === count, "it was reloaded")
    }
    await server.edit("bext.config.toml", "[plugins.who]", "[plugins.who]\npriority = 700")
    await reload(1)
    await eventually(() => heard(server).some(({ hook }) => hook === "onReload"), "it was told")
    assert.equal(starts(server).length, 1)
    await server.edit("plugins/audit/main.py", "RUN =", "# changed\nRUN =")
    await reload(2)
    await eventually(() => heard(server).some(({ hook }) => hook === "cleanup"), "the old one has ended")
    assert.equal(starts(server).length, 2)
    await request(server, "b", 20)
    await eventually(() => told(server, /^\/b/).length === 20, "it hears of requests, each once")
    assert.deepEqual([...new Set(told(server, /^\/b/).map(({ run }) => run))], [starts(server)[1]!.run])
  })

  it("that cannot be started in the next leader is tried again, and the server serves meanwhile", async () => {
    await using server = await serveSeveral({ files: FILES, config: CONFIG })
    const main = server.project.path("plugins/audit/main.py")
    renameSync(main, `${main}.away`)
    await killLeader(server)
    await eventually(
      () => server.logged(/audit could not be started in the process that leads now/).length > 0,
      "said so",
    )
    assert.equal((await get(`${server.url}/`)).status, 200)
    renameSync(`${main}.away`, main)
    await eventually(() => starts(server).length === 2, "it was started in the end")
    await request(server, "c", 10)
    await eventually(() => told(server, /^\/c/).length === 10, "it hears of requests again")
  })

  it("is told once that the server stops, and then cleans up", async () => {
    await using server = await serveSeveral({ files: FILES, config: CONFIG })
    await request(server, "d", 4)
    assert.equal(await server.end("SIGTERM"), 0)
    const hooks = heard(server).map(({ hook }) => hook)
    assert.equal(hooks[0], "onServerStart")
    assert.deepEqual(hooks.slice(-2), ["onServerStop", "cleanup"])
    assert.equal(hooks.filter((hook) => hook === "onServerStop").length, 1)
  })
})
