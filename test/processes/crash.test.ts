import assert from "node:assert/strict"
import { connect } from "node:net"
import { describe, it } from "node:test"
import { readToEnd } from "../http/serve-test.ts"
import { childrenOf, eventually, get, isAlive, type Several, serveSeveral, startLoad } from "./several.ts"

const REQUEST = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

describe("bext serve with several processes", () => {
  it("loses only the connections of a process that is killed under load, and starts another", async () => {
    await using server = await serveSeveral()
    const [first, second] = await server.serving(2)
    await using load = startLoad(server.url, 8)
    await eventually(() => load.answered > 200 && load.processes.size === 2, "both processes are under load")
    process.kill(first!.pid, "SIGKILL")
    await eventually(async () => (await server.serving(2)).every(({ pid }) => pid !== first!.pid), "another serves")
    await eventually(async () => {
      const { headers } = await get(server.url)
      return !load.processes.has(String(headers["x-process"]))
    }, "the new process answers")
    await load.stop()
    const lost = new Set(load.failures.map((failure) => failure.process))
    assert.ok(lost.size <= 1, `connections of more than one process failed: ${JSON.stringify(load.failures)}`)
    assert.ok(!lost.has(""), `a connection that was not in that process yet failed: ${JSON.stringify(load.failures)}`)
    assert.ok(load.failures.length <= 8, "each client failed at most once")
    const [ended] = server.logged(/a serving process ended/)
    assert.deepEqual([ended!.pid, ended!.signal, ended!.level], [first!.pid, "SIGKILL", "error"])
    const { processes } = await server.status()
    assert.deepEqual(
      processes.map(({ crashes }) => crashes),
      [1, 0],
    )
    assert.equal(processes[1]!.pid, second!.pid)
  })

  it("answers a connection that was on its way to a process that dies", async () => {
    await using server = await serveSeveral()
    const [first] = await server.serving(2)
    process.kill(first!.pid, "SIGSTOP")
    const answers = Array.from({ length: 6 }, () => ask(server))
    const answered = Promise.all(answers)
    // All but the one that was handed to the process that stands still.
    await Promise.any(answers.map((_, index) => Promise.all(answers.toSpliced(index, 1))))
    process.kill(first!.pid, "SIGKILL")
    for (const answer of await answered) assert.match(answer, /^HTTP\/1\.1 200 /)
  })

  it("keeps the port and lets connections wait when all processes die at once", async () => {
    await using server = await serveSeveral()
    const [, last] = await server.serving(2)
    for (const pid of childrenOf(server.pid)) process.kill(pid, "SIGKILL")
    await eventually(() => !isAlive(last!.pid), "they are dead")
    await eventually(() => server.logged(/a serving process ended/).length === 2, "it is known")
    const answers = await Promise.all(Array.from({ length: 10 }, () => ask(server)))
    for (const answer of answers) assert.match(answer, /^HTTP\/1\.1 200 /)
    const leaders = async () => (await server.status()).processes.filter(({ leader }) => leader).length
    await eventually(async () => (await leaders()) === 1, "one of them leads")
  })

  it("serves on while a process stands still, and says which", async () => {
    await using server = await serveSeveral()
    const [, second] = await server.serving(2)
    process.kill(second!.pid, "SIGSTOP")
    try {
      const stuck = connect(Number(new URL(server.url).port), "127.0.0.1")
      stuck.on("error", () => {})
      for (let count = 0; count < 10; count++) {
        const answer = await Promise.race([ask(server), ask(server)])
        assert.match(answer, /^HTTP\/1\.1 200 /)
      }
      stuck.destroy()
      const { processes } = await server.status()
      assert.deepEqual(
        processes.map(({ state }) => state),
        ["serving", "unresponsive"],
      )
    } finally {
      process.kill(second!.pid, "SIGCONT")
    }
    await server.serving(2)
  })

  it("starts a process that keeps dying ever later, while the others serve", async () => {
    await using server = await serveSeveral()
    const [healthy] = await server.serving(2)
    await using load = startLoad(server.url, 4)
    const restarts = () => server.logged(/a serving process (ended|could not start)/)
    while (restarts().length < 4) {
      await eventually(async () => childrenOf(server.pid).length > 1, "another is started")
      const before = restarts().length
      for (const pid of childrenOf(server.pid)) if (pid !== healthy!.pid) process.kill(pid, "SIGKILL")
      await eventually(() => restarts().length > before, "its end is seen")
    }
    await load.stop()
    const delays = restarts().map(({ restart_in_ms }) => restart_in_ms)
    assert.deepEqual(delays.slice(0, 4), [0, 250, 500, 1_000])
    const { processes } = await server.status()
    assert.equal(processes[0]!.pid, healthy!.pid)
    assert.ok(load.answered > 0)
    await server.serving(2)
  })

  it("ends with its supervisor: no process is left, the port is free, what was in flight is answered", async () => {
    await using server = await serveSeveral()
    const pids = (await server.serving(2)).map(({ pid }) => pid)
    const slow = Array.from({ length: 4 }, () => get(`${server.url}/slow`))
    await eventually(async () => {
      const { processes } = await server.status()
      return processes.reduce((sum, { requestsInFlight }) => sum + requestsInFlight, 0) === 4
    }, "all are in flight")
    assert.equal(await server.end("SIGKILL"), "SIGKILL")
    for (const { status } of await Promise.all(slow)) assert.equal(status, 200)
    await eventually(() => !pids.some(isAlive), "no process is left")
    await assert.rejects(get(server.url), { code: "ECONNREFUSED" })
  })
})

function ask({ url }: Several): Promise<string> {
  const socket = connect(Number(new URL(url).port), "127.0.0.1")
  socket.on("error", () => {})
  socket.write(REQUEST)
  return readToEnd(socket)
}
