import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { after, before, describe, it, type TestContext } from "node:test"
import { fileURLToPath } from "node:url"
import { loadPlugin } from "../../src/testing.ts"
import type { TestLog, TestPlugin } from "../../src/testing-api.ts"
import { type DrivenProgram, driveProgram } from "../support/drive-program.ts"
import { findProgram, GO, RUBY } from "../support/programs.ts"
import { jpeg } from "./images.ts"
import { missingForJail, missingForPython } from "./missing-for-jail.ts"

const SDK = fileURLToPath(new URL("../../sdk", import.meta.url))

/** A copy of an example that the user of a jail may read. */
function copyExample(t: Pick<TestContext, "after">, example: string): string {
  const folder = mkdtempSync(join(tmpdir(), "bext-example-"))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  chmodSync(folder, 0o755)
  cpSync(join(SDK, example), folder, { recursive: true })
  return folder
}

/** The command of the README that begins so. */
function readmeCommand(folder: string, beginning: string): string {
  const blocks = readFileSync(join(folder, "README.md"), "utf8").matchAll(/```sh\n(.*?)\n```/gs)
  const found = Array.from(blocks, ([, command]) => command!).find((command) => command.startsWith(beginning))
  return found ?? assert.fail(`no command that begins with ${beginning}`)
}

/** The lines that a command of a README prints. */
function runReadme(folder: string, beginning: string): string[] {
  const env = { ...process.env, PATH: `/usr/bin:${process.env.PATH}`, PYTHONDONTWRITEBYTECODE: "1" }
  const command = readmeCommand(folder, beginning)
  return execFileSync("sh", ["-c", command], { cwd: folder, env, encoding: "utf8", timeout: 60_000 })
    .split("\n")
    .slice(0, -1)
}

async function logged(plugin: TestPlugin, pattern: RegExp): Promise<TestLog> {
  for (;;) {
    const line = plugin.log.find(({ message }) => pattern.test(message))
    if (line !== undefined) return line
    await new Promise(setImmediate)
  }
}

describe("fraud-score in its jail", { skip: missingForPython() }, () => {
  const load = (config: Readonly<Record<string, unknown>>) =>
    loadPlugin(join(SDK, "python/examples/fraud-score"), {
      config,
      app: (request) => new Response(request.headers.get("x-fraud-score")),
    })

  it("scores requests that come at the same time, and refuses a client that sends too many", async () => {
    await using plugin = await load({ requests_per_minute: 10 })
    const headers = { "user-agent": "Mozilla/5.0", accept: "*/*", "accept-language": "en", "x-fraud-score": "0" }
    const answers = await Promise.all(
      Array.from({ length: 60 }, async () => {
        const response = await plugin.request("/", { headers })
        return response.ok ? await response.text() : String(response.status)
      }),
    )
    const count = (text: string) => answers.filter((answer) => answer === text).length
    assert.deepEqual([count("0"), count("40"), count("403")], [10, 30, 20])
    assert.equal((await logged(plugin, /^refused 127\.0\.0\.1/)).level, "warn")
  })

  it("has a threshold", async () => {
    const tool = { "user-agent": "curl/8.5.0", accept: "*/*" }
    await using strict = await load({ threshold: 30 })
    assert.equal((await strict.request("/", { headers: tool })).status, 403)
    await using lenient = await load({ threshold: 31 })
    assert.equal(await (await lenient.request("/", { headers: tool })).text(), "30")
  })

  it("says by hand what it would ask of its host", () => {
    const lines = runReadme(join(SDK, "python/examples/fraud-score"), "echo")
    assert.match(lines[0]!, /"protocol":1/)
    assert.match(lines[1]!, /"method":"storage\.incr","params":\{"key":"seen-192\.0\.2\.1"/)
    assert.equal(lines.length, 3)
  })
})

describe("image-exif-strip in its jail", { skip: missingForPython() }, () => {
  it("strips uploads and what the app sends, small and large", async () => {
    const bulk = Buffer.alloc(400_000, "x")
    const photo = Buffer.concat([jpeg({ orientation: 1 }).subarray(0, -2), bulk])
    const received: Buffer[] = []
    await using plugin = await loadPlugin(join(SDK, "python/examples/image-exif-strip"), {
      app: async (request) => {
        received.push(Buffer.from(await request.arrayBuffer()))
        return new Response(photo, { headers: { "content-type": "image/jpeg", etag: '"1"' } })
      },
    })
    const headers = { "content-type": "image/jpeg" }
    const response = await plugin.request("/photo", { method: "POST", headers, body: photo })
    assert.deepEqual(received, [jpeg(null)])
    assert.deepEqual(Buffer.from(await response.arrayBuffer()), jpeg(null))
    assert.equal(response.headers.get("etag"), null)
  })

  it("has a part that works by itself", () => {
    const cwd = join(SDK, "python/examples/image-exif-strip")
    const command = /`(python3 -c 'import images.*?)`/s.exec(readFileSync(join(cwd, "README.md"), "utf8"))![1]!
    const [script] = /'.*'/s.exec(command)!
    const args = ["-c", script.slice(1, -1).replace(/\s+/g, " ")]
    const env = { PYTHONDONTWRITEBYTECODE: "1" }
    assert.deepEqual(execFileSync("/usr/bin/python3", args, { cwd, env, input: jpeg({ orientation: 1 }) }), jpeg(null))
  })
})

describe("access-log in Ruby", { skip: missingForJail(RUBY) }, () => {
  const EXAMPLE = join(SDK, "ruby/examples/access-log")

  it("logs finished requests by their route, and measures them", async () => {
    await using plugin = await loadPlugin(EXAMPLE, { config: { slow_ms: 10_000 } })
    await plugin.request("/users/17/photos?private=1")
    const { level, message } = await logged(plugin, /^method=/)
    assert.equal(level, "info")
    assert.match(message, /^method=GET route=\/users\/:id\/photos status=200 class=2xx ms=[\d.]+ visitor=person$/)
  })

  it("says which are slow, and leaves out what is not of interest", async () => {
    await using plugin = await loadPlugin(EXAMPLE, { config: { slow_ms: 0, ignore: ["/health"] } })
    await plugin.request("/health")
    await plugin.request("/page")
    const { level, message } = await logged(plugin, /^method=/)
    assert.equal(level, "warn")
    assert.match(message, /route=\/page .* slow=true$/)
  })

  it("shows identifiers as what they are, and nothing of a path that could forge a line", async () => {
    await using program = driveProgram([findProgram(RUBY)!, "main.rb"], { cwd: EXAMPLE })
    await program.call("hello", { config: { slow_ms: 500, ignore: [] } })
    for (const [path, route] of [
      ["/", "/"],
      ["/a/0123456789abcdef0/7", "/a/:hash/:id"],
      ["/o/6ba7b810-9dad-11d1-80b4-00c04fd430c8", "/o/:uuid"],
      ["/a b=c\n", '"/a b=c\\n"'],
      ["/é", '"/\\u00E9"'],
      [`/${"x/".repeat(50)}`, "/x/x/x/x/x/x/x"],
    ] as const) {
      const answer = await program.call("onRequestComplete", { method: "GET", path, status: 200, duration_ms: 3 })
      assert.equal(answer.ok, true)
      const { params } = program.asked.findLast(({ method }) => method === "log")!
      assert.equal(params.message, `method=GET route=${route} status=200 class=2xx ms=3 visitor=person`)
    }
    const failed = await program.call("onRequestComplete", {})
    assert.match(String(failed.error), /^KeyError: key not found/)
    assert.equal(await program.end(), 0)
  })

  it("runs by hand", () => {
    const lines = runReadme(EXAMPLE, "echo")
    assert.deepEqual(JSON.parse(lines.at(-1)!), { id: 1, ok: true })
    assert.match(lines[1]!, /route=\/users\/:id/)
  })
})

describe("shed-load in shell", { skip: missingForJail() }, () => {
  const load = async (t: TestContext, max: number): Promise<TestPlugin> => {
    const folder = copyExample(t, "shell/examples/shed-load")
    const script = join(folder, "main.sh")
    writeFileSync(script, readFileSync(script, "utf8").replace(/^max=\d+/m, `max=${max}`))
    return loadPlugin(folder)
  }

  it("answers 503 as long as the load is at its limit, knowing no JSON", async (t) => {
    await using plugin = await load(t, 0)
    for (let i = 0; i < 3; i++) {
      const response = await plugin.request("/")
      assert.deepEqual([response.status, response.headers.get("retry-after")], [503, "10"])
      assert.equal(await response.text(), "Too busy, please come again.\n")
    }
  })

  it("lets requests pass below it", async (t) => {
    await using plugin = await load(t, 1_000_000)
    const response = await plugin.request("/", { headers: { "x-a": '{"method":"onRequest",' } })
    assert.equal(await response.text(), "app")
  })

  it("runs by hand", () => {
    assert.equal(runReadme(join(SDK, "shell/examples/shed-load"), "echo").length, 1)
  })
})

describe("allow-networks in Go", { skip: missingForJail(GO) }, () => {
  let folder: string
  const cleanups: (() => void)[] = []
  before(() => {
    folder = copyExample({ after: (clean) => cleanups.push(clean as () => void) }, "go/examples/allow-networks")
    const build = readmeCommand(folder, "CGO_ENABLED")
    const env = { ...process.env, PATH: `${dirname(findProgram(GO)!)}:${process.env.PATH}`, GOPROXY: "off" }
    execFileSync("sh", ["-c", build], { cwd: folder, env, timeout: 150_000 })
  })
  after(() => {
    for (const clean of cleanups) clean()
  })

  const start = async (networks: readonly string[]): Promise<DrivenProgram> => {
    const program = driveProgram([join(folder, "plugin")], { cwd: folder })
    assert.equal((await program.call("hello", { config: { networks } })).ok, true)
    return program
  }

  it("lets some in and others not, in its jail", async () => {
    await using open = await loadPlugin(folder, { config: { networks: ["127.0.0.0/8"] } })
    assert.equal(await (await open.request("/")).text(), "app")
    await using closed = await loadPlugin(folder, { config: { networks: ["192.0.2.0/24"] } })
    const response = await closed.request("/")
    assert.deepEqual([response.status, await response.text()], [403, "Not from here.\n"])
  })

  it("does not load with a network that is none, and says which", async () => {
    await assert.rejects(
      loadPlugin(folder, { config: { networks: ["192.0.2.0/33"] } }),
      /"192\.0\.2\.0\/33" is neither/,
    )
  })

  it("knows addresses and ranges of both kinds, in every spelling", async () => {
    await using program = await start(["192.0.2.0/24", "198.51.100.7", "2001:db8::/32"])
    for (const [client_address, allowed] of [
      ["192.0.2.255", true],
      ["::ffff:192.0.2.1", true],
      ["192.0.3.0", false],
      ["198.51.100.7", true],
      ["198.51.100.8", false],
      ["2001:DB8:0::1", true],
      ["2001:db9::1", false],
      ["::1", false],
    ] as const) {
      const answer = await program.request({ client_address })
      assert.equal(answer.action ?? "continue", allowed ? "continue" : "respond", client_address)
    }
    assert.match(String((await program.request({ client_address: "nobody" })).error), /unable to parse IP/)
  })

  it("answers many calls that come at once, in order, and ends with its input", async () => {
    await using program = await start(["192.0.2.0/24"])
    const calls = Array.from({ length: 2000 }, (_, i) =>
      program.request({ client_address: `192.0.${i % 2 ? 2 : 3}.1` }),
    )
    const answers = await Promise.all(calls)
    assert.ok(answers.every(({ action }, i) => (action === undefined) === (i % 2 === 1)))
    assert.equal(await program.end(), 0)
  })

  it("runs by hand", () => {
    const lines = runReadme(folder, "echo")
    assert.deepEqual(
      lines.map((line) => JSON.parse(line).action),
      [undefined, undefined, "respond"],
    )
  })
})
