import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { appendFileSync, mkdtempSync, rmdirSync, rmSync, statSync, truncateSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { it, type TestContext } from "node:test"
import { ask } from "../admin/ask.ts"
import { eventually, get, isAlive, serveSeveral } from "../processes/several.ts"
import { startLoginApp } from "../support/login-app.ts"
import { serveChild } from "../support/serve.ts"
import { NEIGHBOUR, NEIGHBOUR_SECTION, startNeighbours } from "./neighbours.ts"
import { logIn, logOut, whoAmI } from "./sessions.ts"
import { unharmed } from "./unharmed.ts"

const ENV = { FAULTS_SESSION_KEY: "a key of more than 32 bytes for the sessions of one test" }
const BLOCK = 20_000

it("a full disk fails writes with a code and no request; with space again all goes on, and a kill -9 loses nothing", async (t) => {
  const disk = mountSmallDisk(t)
  if (disk === null) return t.skip("this user may not mount a tmpfs")
  await using app = await startLoginApp()
  const login = ["login", "logout", "whoami"].map(
    (path) => `[[routes]]\npath = "/${path}"\nupstream = "${app.origin}"\nforward_user = true\n`,
  )
  const config = `${NEIGHBOUR_SECTION}[state]
dir = "${disk.folder}"
[queues.jobs]
visibility_timeout = "1s"
max_attempts = 100
backoff = "100ms"
max_backoff = "500ms"
[middleware.session]
secrets = ["env:FAULTS_SESSION_KEY"]
login_paths = ["/login", "/logout"]
[plugins.writer]
match = [{ path = "/write/**" }]
grant = { queues = ["jobs"] }
[queues.held]
[plugins.holder]
match = [{ path = "/hold/**" }]
grant = { queues = ["held"] }
${login.join("")}`
  await using site = await serveSeveral({ config, files: { ...NEIGHBOUR, ...WRITER }, env: ENV })
  await site.serving(2)
  const cookies = await Promise.all(Array.from({ length: 12 }, () => logIn(site.url)))
  t.after(() => t.diagnostic(`processes ended: ${JSON.stringify(site.logged(/a serving process (ended|could)/))}`))
  const write = async (what: string) => (await get(`${site.url}/write/${what}`)).body
  assert.equal(await write("set?before=1"), "on disk")
  const health = () => ask({ socketPath: site.project.path(".bext/admin.sock") }, "/v1/health")
  assert.equal((await health()).json().status, "ok")
  await using neighbours = startNeighbours(site.url)

  disk.fill(BLOCK * 20)
  const pushed: string[] = []
  const kept: string[] = []
  let refused = 0
  let held = 0
  for (let n = 0; refused < 8; n++) {
    assert.ok(n < 300, "the disk is full some time")
    const [push, set] = [await write(`push?${n}`), await write(`set?key-${n}=${"x".repeat(2000)}`)]
    if (push === "pushed") pushed.push(String(n))
    if (set === "on disk") kept.push(`key-${n}`)
    for (const answer of [push, set]) assert.match(answer, /^(pushed|on disk|E_STATE_UNAVAILABLE)$/)
    refused = push === "pushed" || set === "on disk" ? 0 : refused + 1
  }
  // Messages that nobody handles take what is left between the others.
  for (const bytes of [BLOCK, 100]) {
    for (let n = 0, refused = 0; refused < 8; n++) {
      assert.ok(n < 1000, "the disk is full some time")
      const { body } = await get(`${site.url}/hold/${bytes}`)
      assert.match(body, /^(pushed|E_STATE_UNAVAILABLE)$/)
      refused = body === "pushed" ? 0 : refused + 1
      if (body === "pushed") held++
    }
  }
  const logged = () => site.logged(/cannot write the state/)
  const lines = logged().length
  assert.ok(lines >= 1 && lines <= 2 * (1 + pushed.length + kept.length + held), "one for each run of failures")
  assert.match(String(logged()[0]!.msg), /; \d+ KiB are left on that disk/)
  const ends = await Promise.all(cookies.slice(0, 6).map((cookie) => logOut(site.url, cookie)))
  const failed = ends.filter(({ status }) => status !== 303)
  assert.ok(failed.length > 0)
  for (const { status, body } of failed) assert.deepEqual([status, JSON.parse(body).code], [500, "E_STATE_UNAVAILABLE"])
  const sick = await health()
  assert.deepEqual([sick.status, sick.json().status], [503, "failing"], sick.text)
  t.diagnostic(`${pushed.length} pushes and ${kept.length} writes before; full: ${failed.length} of 6 logouts got 500`)
  t.diagnostic(`the log says why in ${lines} lines: ${logged()[0]!.msg}`)

  const [victim] = await site.serving(2)
  process.kill(victim!.pid, "SIGKILL")
  await eventually(
    async () => (await site.serving(2)).every(({ pid }) => pid !== victim!.pid),
    "another process starts on a full disk",
  )
  assert.equal((await get(site.url)).status, 200)

  disk.free()
  await eventually(async () => (await write("push?after")) === "pushed", "pushes succeed")
  assert.equal((await health()).json().status, "ok")
  await eventually(async () => (await write("set?after=1")) === "on disk", "storage is written")
  pushed.push("after")
  await eventually(async () => {
    const done = new Set((await write("done")).split(" "))
    return pushed.every((value) => done.has(value))
  }, "all that was pushed is handled")
  for (const cookie of cookies.slice(0, 10)) assert.equal((await logOut(site.url, cookie)).status, 303)
  const { processes } = await site.status()
  assert.equal(processes[0]!.crashes + processes[1]!.crashes, 1)
  await unharmed(t, neighbours, 3)

  const pids = (await site.serving(2)).map(({ pid }) => pid)
  for (const pid of [site.pid, ...pids]) process.kill(pid, "SIGKILL")
  await eventually(() => ![site.pid, ...pids].some(isAlive), "all are dead")
  await using again = await serveChild([], { folder: site.folder, processes: "configured", env: ENV })
  for (const key of ["before", ...kept, "after"]) {
    assert.equal((await get(`${again.url}/write/has?${key}`)).body, "true", `${key} is there after kill -9`)
  }
  const users = await Promise.all(cookies.map((cookie) => whoAmI(again.url, cookie)))
  assert.deepEqual(users, [...Array(10).fill(null), "ada", "ada"])
})

interface Disk {
  readonly folder: string
  /** Takes all space that is left, but for about so many bytes. */
  fill(leaveBytes: number): void
  /** Gives back what was taken. */
  free(): void
}

/** A file system of 32 MiB of its own, for the time of the test; null where that is not allowed. */
function mountSmallDisk(t: TestContext): Disk | null {
  const folder = mkdtempSync(join(tmpdir(), "bext-disk-"))
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=32m,mode=0700", "none", folder]).status === 0
  t.after(() => {
    if (mounted) spawnSync("umount", ["--lazy", folder])
    rmdirSync(folder)
  })
  if (!mounted) return null
  const ballast = join(folder, "ballast")
  return {
    folder,
    fill(leaveBytes) {
      assert.throws(() => {
        for (let block = 0; block < 64; block++) appendFileSync(ballast, Buffer.alloc(2 ** 20))
      }, /ENOSPC/)
      truncateSync(ballast, statSync(ballast).size - leaveBytes)
    },
    free: () => rmSync(ballast),
  }
}

const WRITER = {
  "plugins/holder/plugin.toml": `[manifest]
name = "holder"
version = "1.0.0"
capabilities = ["middleware"]
[permissions]
queues = ["held"]
`,
  "plugins/holder/index.js": `
export async function onRequest({ path }) {
  try {
    await bext.queue.push("held", "z".repeat(Number(path.split("/").at(-1))))
    return new Response("pushed")
  } catch (error) {
    return new Response(error.code)
  }
}`,
  "plugins/writer/plugin.toml": `[manifest]
name = "writer"
version = "1.0.0"
capabilities = ["middleware", "lifecycle"]
[permissions]
queues = ["jobs"]
`,
  "plugins/writer/index.js": `
async function attempt(what) {
  try { return await what() } catch (error) { return error.code }
}
export async function onRequest({ path, query }) {
  const [key, value] = query.split("=")
  if (path === "/write/has") return new Response(String(bext.storage.get(key) !== undefined))
  if (path === "/write/done") return new Response(bext.storage.keys("done ").map((key) => key.slice(5)).join(" "))
  if (path === "/write/push") {
    return new Response(await attempt(async () => {
      await bext.queue.push("jobs", { n: query, text: "y".repeat(${BLOCK}) })
      return "pushed"
    }))
  }
  bext.storage.set(key, value)
  return new Response(await attempt(async () => {
    await bext.storage.flush()
    return "on disk"
  }))
}
export async function onQueueMessage({ value }) {
  await bext.storage.incr("done " + value.n)
}`,
}
