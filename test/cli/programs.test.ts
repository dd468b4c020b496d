import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { chmodSync, existsSync, readdirSync, writeFileSync } from "node:fs"
import { request } from "node:http"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { describe, it } from "node:test"
import { probeIsolation } from "../../src/create-tiers.ts"
import { loadPlugin } from "../../src/testing.ts"
import { program } from "../plugins/program-files.ts"
import { writeFiles } from "../plugins/write-files.ts"
import { eventually, get } from "../processes/several.ts"
import { createProject, serveChild, serveInChild } from "../support/serve.ts"
import { WITHOUT_BUBBLEWRAP } from "./machines.ts"
import { type Run, runBext, temporaryFolder } from "./run-bext.ts"

const COUNTS = `
HOOKS = ["onRequest"]
def answer(method, params):
    if params["path"] == "/end": os._exit(3)
    with open("/data/count", "a") as file: file.write("x")
    return {"action": "respond", "body": open("/data/count").read()}
`
const FILES = program("count", COUNTS, '"middleware"', "data_dir = true")

const BEXT = join(import.meta.dirname, "../../src/cli/bext.ts")

const { level } = await probeIsolation()
const skip = level === "process" && "this machine isolates nothing"

const needsRoot = (process.geteuid?.() !== 0 || level !== "full") && "needs root, bubblewrap and cgroups"

describe("a program", { skip, concurrency: 2 }, () => {
  it("is found right by bext check, which says how it is isolated and leaves nothing behind", async (t) => {
    const folder = temporaryFolder(t)
    chmodSync(folder, 0o755)
    writeFiles(folder, { ...FILES, "bext.config.toml": "[plugins.count]\n" })
    const { code, out, err } = await runBext(["check"], { cwd: folder })
    assert.equal(code, 0, err)
    assert.match(out, new RegExp(`count 1\\.0\\.0 {2}nsjail \\(isolation ${level}\\), priority 600: on_request$`, "m"))
    assert.deepEqual(readdirSync(folder).sort(), ["bext.config.toml", "plugins"])
  })

  it("keeps a server of root's from starting that has no bubblewrap, with the package named", {
    skip: needsRoot,
  }, async (t) => {
    const folder = temporaryFolder(t)
    chmodSync(folder, 0o755)
    const config = '[server]\nlisten = "127.0.0.1:0"\n[sandbox.nsjail]\nmin_isolation = "process"\n[plugins.count]\n'
    writeFiles(folder, { ...FILES, "bext.config.toml": config })
    for (const processes of ["1", "2"]) {
      const { code, err } = await runIn(folder, WITHOUT_BUBBLEWRAP, "serve", "--processes", processes)
      assert.equal(code, 1)
      assert.match(err, /^error E_ISOLATION: count: bubblewrap is not installed: install the package bubblewrap; /m)
      assert.ok(!existsSync(join(folder, ".bext/nsjail")), "nothing was made for it")
    }
  })

  it("is tested by its own tests, data and all", async (t) => {
    const folder = temporaryFolder(t)
    chmodSync(folder, 0o755)
    writeFiles(folder, FILES)
    await using server = await loadPlugin(join(folder, "plugins/count"))
    assert.equal(await (await server.request("/")).text(), "x")
    assert.equal(await (await server.request("/")).text(), "xx")
  })

  it("is shown by the start log, bext status and the metrics", async () => {
    const config = '[server]\nlisten = "127.0.0.1:0"\n[log]\nformat = "json"\n[plugins.count]\n'
    using project = createProject({ ...FILES, "bext.config.toml": config })
    await using server = await serveChild([], { folder: project.folder })
    assert.equal((await get(`${server.url}/a`)).body, "x")
    const said = server.output().match(/"msg":"isolation of programs: .*?"/g)
    assert.match(said?.join() ?? "", new RegExp(`^"msg":"isolation of programs: ${level} \\(`))
    await get(`${server.url}/end`)
    let status = ""
    await eventually(async () => {
      const run = await runBext(["status"], { cwd: server.folder })
      status = run.out
      return /processes of count were started again/.test(status)
    }, "the restart is shown")
    assert.match(status, new RegExp(`^ {2}count +1\\.0\\.0 +${level} +2 +`, "m"))
    assert.match(status, /processes of count were started again: 1 × E_GUEST_CRASHED/)
    const metrics = await readMetrics(project.path(".bext/admin.sock"))
    assert.match(metrics, new RegExp(`^bext_nsjail_isolation\\{level="${level}"\\} 1$`, "m"))
    assert.match(metrics, /^bext_nsjail_jails\{plugin="count"\} 1$/m)
    assert.match(metrics, /^bext_nsjail_restarts_total\{plugin="count",reason="E_GUEST_CRASHED"\} 1$/m)
    assert.match(metrics, /^bext_nsjail_cpu_seconds_total\{plugin="count"\} [\d.e-]+$/m)
    assert.match(metrics, /^bext_plugin_memory_bytes\{plugin="count"\} [1-9]\d*$/m)
  })

  it("goes on through a reload that does not change it, and is loaded anew by one that does", async () => {
    await using server = await serveInChild("[plugins.count]\n", FILES)
    const reload = async () => (await runBext(["reload"], { cwd: server.folder })).out
    assert.match(await reload(), /^ {2}kept +count$/m)
    writeFileSync(join(server.folder, "plugins/count/words.txt"), "new")
    assert.match(await reload(), /^ {2}loaded +count$/m)
    assert.equal((await get(`${server.url}/a`)).body, "x")
  })
})

function runIn(cwd: string, machine: readonly string[], ...args: string[]): Promise<Run> {
  const [command = "", ...words] = [...machine, process.execPath, BEXT, ...args]
  return new Promise((done) => {
    const env = { PATH: process.env.PATH }
    const child = execFile(command, words, { cwd, env, timeout: 60_000 }, (_error, out, err) =>
      done({ code: child.exitCode ?? -1, out, err }),
    )
  })
}

function readMetrics(socketPath: string): Promise<string> {
  return new Promise((resolve, reject) => {
    request({ socketPath, path: "/metrics", headers: { host: "localhost" } }, (response) => resolve(text(response)))
      .on("error", reject)
      .end()
  })
}
