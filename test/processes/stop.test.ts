import assert from "node:assert/strict"
import { execFileSync, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { readdirSync } from "node:fs"
import { type AddressInfo, connect, createServer } from "node:net"
import { describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { createProject } from "../support/serve.ts"
import { childrenOf, eventually, get, isAlive, type Several, serveSeveral, startLoad, WHO } from "./several.ts"

const BEXT = fileURLToPath(new URL("../../src/cli/bext.ts", import.meta.url))

describe("bext serve with several processes, told to stop", () => {
  it("finishes what is in flight in all of them, takes nothing new, and ends with 0", async () => {
    await using server = await serveSeveral()
    const pids = (await server.serving(2)).map(({ pid }) => pid)
    const slow = Array.from({ length: 6 }, () => get(`${server.url}/slow`))
    await inFlight(server, 6)
    const ended = server.end("SIGTERM")
    await eventually(() => server.output().includes("SIGTERM: finishing what is in flight"), "it says so")
    await eventually(() => refuses(server.url), "nothing new is taken")
    for (const { status, body } of await Promise.all(slow)) assert.deepEqual([status, body], [200, "slow"])
    assert.equal(await ended, 0)
    assert.ok(!pids.some(isAlive))
  })

  it("fails no request of clients that keep their connections", async () => {
    await using server = await serveSeveral()
    await using load = startLoad(server.url, 8)
    await eventually(() => load.processes.size === 2, "load")
    assert.equal(await server.end("SIGTERM"), 0)
    await load.stop()
    const refused = load.failures.filter(({ error }) => !error.includes("ECONNREFUSED"))
    assert.deepEqual(refused, [])
  })

  it("ends well in the middle of a replacement", async () => {
    for (const delayMs of [0, 150, 400, 800]) {
      await using server = await serveSeveral()
      await server.edit("bext.config.toml", 'grace = "5s"', 'grace = "6s"')
      process.kill(server.pid, "SIGHUP")
      await new Promise((resolve) => setTimeout(resolve, delayMs))
      const pids = childrenOf(server.pid)
      assert.equal(await server.end("SIGTERM"), 0)
      await eventually(() => !pids.some(isAlive), "no process is left")
    }
  })

  it("gives up after the grace period", async () => {
    await using server = await serveSeveral({
      grace: "300ms",
      files: { "plugins/who/index.js": WHO["plugins/who/index.js"].replace("done, 700", "done, 9000") },
    })
    const slow = assert.rejects(get(`${server.url}/slow`))
    await inFlight(server, 1)
    assert.equal(await server.end("SIGTERM"), 0)
    await slow
  })

  it("ends at once when it is told twice, and no process is left", async () => {
    await using server = await serveSeveral()
    const pids = (await server.serving(2)).map(({ pid }) => pid)
    const slow = assert.rejects(get(`${server.url}/slow`))
    await inFlight(server, 1)
    const ended = server.end("SIGINT")
    await eventually(() => server.output().includes("again: stop now"), "it says so")
    process.kill(server.pid, "SIGINT")
    assert.equal(await ended, "SIGINT")
    await slow
    await eventually(() => !pids.some(isAlive), "no process is left")
  })

  it("drains although the terminal tells each process of the group", async () => {
    await using server = await serveSeveral()
    const pids = (await server.serving(2)).map(({ pid }) => pid)
    const slow = Array.from({ length: 4 }, () => get(`${server.url}/slow`))
    await inFlight(server, 4)
    for (const pid of pids) for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.kill(pid, signal)
    assert.equal(await server.end("SIGINT"), 0)
    for (const { status } of await Promise.all(slow)) assert.equal(status, 200)
  })
})

const noTerminal = spawnSync("script", ["--version"]).status === 0 ? false : "script (bsdutils) is not installed"

describe("bext serve in a terminal", { skip: noTerminal }, () => {
  for (const processes of [1, 2]) {
    it(`with ${processes} serving, ends with its window, and reloads on any other SIGHUP`, async () => {
      using project = createProject({ "public/index.html": "home", ...WHO, "bext.config.toml": config(processes) })
      const command = `exec '${process.execPath}' '${BEXT}' serve`
      const terminal = spawn("script", ["--quiet", "--command", command, "/dev/null"], { cwd: project.folder })
      let output = ""
      terminal.stdout.on("data", (chunk) => {
        output += chunk
      })
      await eventually(() => /listens on/.test(output), "it starts")
      const [server] = childrenOf(terminal.pid!)
      const pids = [server!, ...childrenOf(server!)]
      process.kill(server!, "SIGHUP")
      await eventually(() => /was reloaded/.test(output), "it is reloaded")
      assert.ok(pids.every(isAlive))
      terminal.kill("SIGKILL")
      await eventually(() => !pids.some(isAlive), "no process is left")
    })
  }
})

describe("bext serve with several processes, at its start", () => {
  it("prints once why it cannot start, and leaves no process", async () => {
    const { status, output } = await runToEnd({
      "plugins/who/index.js": "export function onRequest( {",
    })
    assert.equal(status, 1)
    assert.equal(output.match(/^error E_PLUGIN_LOAD_FAILED/gm)?.length, 1, output)
    assert.match(output, /index\.js:1:/)
    assert.doesNotMatch(output, /listens on|^\s+at .*src\//m)
  })

  it("prints what to paste as one process does", async () => {
    const manifest = `${WHO["plugins/who/plugin.toml"]}[permissions]\nallowed_urls = ["https://api.example.com/*"]\n`
    const { status, output } = await runToEnd({ "plugins/who/plugin.toml": manifest })
    assert.equal(status, 1)
    assert.match(output, /^error E_GRANT_MISSING/m)
    assert.match(output, /^\s*\[plugins\.who\.grant\]$/m)
  })

  it("says when the port is in use", async () => {
    const other = createServer().listen(0, "127.0.0.1")
    await once(other, "listening")
    const { port } = other.address() as AddressInfo
    const { status, output } = await runToEnd({}, "", { PORT: String(port) })
    other.close()
    assert.equal(status, 1)
    assert.match(output, new RegExp(`^error E_PORT_IN_USE: .*127\\.0\\.0\\.1:${port}`, "m"))
  })
})

const NAMESPACE = ["--pid", "--fork", "--mount-proc", "--kill-child"]

/** Why this machine cannot make a process namespace; false when it can. */
const noNamespace =
  spawnSync("unshare", [...NAMESPACE, "true"]).status === 0 ? false : "unshare --pid is not allowed here"

describe("bext serve as process 1", { skip: noNamespace }, () => {
  for (const processes of [1, 2]) {
    it(`with ${processes} serving, reloads, leaves no zombie, drains on SIGTERM and ends with 0`, async () => {
      using project = createProject({ "public/index.html": "home", ...WHO, "bext.config.toml": config(processes) })
      const child = spawn("unshare", [...NAMESPACE, process.execPath, BEXT, "serve"], { cwd: project.folder })
      let output = ""
      for (const stream of [child.stdout, child.stderr]) {
        stream.on("data", (chunk) => {
          output += chunk
        })
      }
      try {
        await eventually(() => /listens on/.test(output), "it starts")
        const url = /listens on (\S+)/.exec(output)![1]!
        const [one] = childrenOf(child.pid!)
        assert.equal((await get(url)).status, 200)
        process.kill(one!, "SIGHUP")
        await eventually(() => /was reloaded/.test(output), "it is reloaded")
        if (processes > 1) {
          process.kill(childrenOf(one!)[0]!, "SIGKILL")
          await eventually(() => /was started again/.test(output), "another process serves")
          assert.equal(childrenOf(one!).filter((pid) => !isAlive(pid)).length, 0, "no zombie")
        }
        const slow = get(`${url}/slow`)
        await new Promise((resolve) => setTimeout(resolve, 200))
        process.kill(one!, "SIGTERM")
        assert.equal((await slow).status, 200)
        const [code] = await once(child, "exit")
        assert.equal(code, 0, output)
      } finally {
        child.kill("SIGKILL")
      }
    })
  }
})

describe("bext serve, short of file descriptors", () => {
  it("starts processes again once it can", async () => {
    await using server = await serveSeveral()
    const [first, second] = await server.serving(2)
    limitFiles(server.pid, 0)
    process.kill(first!.pid, "SIGKILL")
    await eventually(() => server.logged(/could not start/).length > 0, "it cannot")
    assert.equal((await get(server.url)).status, 200)
    execFileSync("prlimit", ["--pid", String(server.pid), "--nofile=1024:"])
    const now = await server.serving(2)
    assert.equal(now[1]!.pid, second!.pid)
  })

  for (const [who, limited] of Object.entries({
    "its processes": (server: Several) => childrenOf(server.pid),
    "its supervisor": (server: Several) => [server.pid],
  })) {
    it(`serves on when clients have used up those of ${who}`, async () => {
      await using server = await serveSeveral()
      const pids = (await server.serving(2)).map(({ pid }) => pid)
      for (const pid of limited(server)) limitFiles(pid, 20)
      const port = Number(new URL(server.url).port)
      const idle = Array.from({ length: 200 }, () => connect(port, "127.0.0.1").on("error", () => {}))
      for (const socket of idle) socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      if (who === "its processes") {
        await eventually(() => idle.some((socket) => socket.closed), "some are refused")
        await eventually(() => server.logged(/no serving process takes them/).length > 0, "it is logged")
      }
      for (const socket of idle) socket.destroy()
      const processes = new Set<unknown>()
      await eventually(async () => {
        const answer = await get(server.url).catch(() => null)
        if (answer?.status === 200) processes.add(answer.headers["x-process"])
        return processes.size === 2
      }, "both processes serve again")
      assert.deepEqual(
        (await server.serving(2)).map(({ pid }) => pid),
        pids,
      )
      assert.equal(await server.end("SIGTERM"), 0)
    })
  }
})

/** Limits open files of a running process to so many more than it has. */
function limitFiles(pid: number, more: number): void {
  const limit = readdirSync(`/proc/${pid}/fd`).length + more
  execFileSync("prlimit", ["--pid", String(pid), `--nofile=${limit}:`])
}

function config(processes: number): string {
  return `
[server]
listen = "127.0.0.1:0"
processes = ${processes}
grace = "5s"
[log]
format = "json"
access = false
[app]
static = "public"
[plugins.who]
`
}

async function runToEnd(
  files: Readonly<Record<string, string>>,
  more = "",
  env: Readonly<Record<string, string>> = {},
) {
  const text = `${config(2)}${more}`
  using project = createProject({ "public/index.html": "home", ...WHO, ...files, "bext.config.toml": text })
  const child = spawn(process.execPath, [BEXT, "serve"], { cwd: project.folder, env: { ...process.env, ...env } })
  let output = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      output += chunk
    })
  }
  // After "close" nobody holds its output any more, a process it left behind included.
  const [status] = await once(child, "close")
  return { status, output }
}

async function inFlight(server: Several, count: number): Promise<void> {
  await eventually(async () => {
    const { processes } = await server.status()
    return processes.reduce((sum, { requestsInFlight }) => sum + requestsInFlight, 0) >= count
  }, "all are in flight")
}

async function refuses(url: string): Promise<boolean> {
  try {
    await get(url)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ECONNREFUSED"
  }
}
