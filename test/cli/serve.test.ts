import assert from "node:assert/strict"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { describe, it, type TestContext } from "node:test"
import { runBext, temporaryFolder } from "./run-bext.ts"

const ENTRY = join(import.meta.dirname, "../../src/cli/bext.ts")

/** Starts the server and waits for the address it prints. */
async function start(t: TestContext, args: string[], options: { cwd: string; env?: Record<string, string> }) {
  const child: ChildProcess = spawn(process.execPath, [ENTRY, "serve", ...args], {
    cwd: options.cwd,
    env: { PATH: process.env.PATH, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  })
  t.after(() => child.kill("SIGKILL"))
  const exited = once(child, "exit")
  let errors = ""
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    errors += text
  })
  for await (const line of createInterface(child.stdout!)) {
    const [, url] = /listens on (http:\/\/\S+)/.exec(line) ?? []
    if (url === undefined) continue
    child.stdout!.resume()
    const stop = async (signal: NodeJS.Signals) => {
      child.kill(signal)
      return (await exited)[0] as number | null
    }
    return { url, stop }
  }
  throw new Error(`it did not start: ${errors}`)
}

function site(t: TestContext): string {
  const folder = temporaryFolder(t)
  mkdirSync(join(folder, "public"))
  writeFileSync(join(folder, "public/index.html"), "<p>hello")
  return folder
}

describe("bext serve", { concurrency: 2 }, () => {
  it("serves a folder without a configuration and ends well on SIGTERM", async (t) => {
    const { url, stop } = await start(t, ["--static", "public", "--listen", "127.0.0.1:0"], { cwd: site(t) })
    const response = await fetch(url)
    assert.equal(response.status, 200)
    assert.equal(await response.text(), "<p>hello")
    assert.equal(await stop("SIGTERM"), 0)
  })

  it("stands in front of an app", async (t) => {
    const app = createServer((_request, response) => response.end("from the app")).listen(0, "127.0.0.1")
    t.after(() => app.close().closeAllConnections())
    await once(app, "listening")
    const upstream = `http://127.0.0.1:${(app.address() as AddressInfo).port}`
    const { url, stop } = await start(t, ["--upstream", upstream], { cwd: temporaryFolder(t), env: { PORT: "0" } })
    assert.equal(await (await fetch(url)).text(), "from the app")
    assert.equal(await stop("SIGINT"), 0)
  })

  it("reads the configuration of this folder, plugins included", async (t) => {
    const folder = site(t)
    assert.equal((await runBext(["init"], { cwd: folder })).code, 0)
    assert.equal((await runBext(["plugin", "install", "security-headers"], { cwd: folder })).code, 0)
    const { url, stop } = await start(t, [], { cwd: folder, env: { PORT: "0" } })
    const response = await fetch(url)
    assert.equal(response.headers.get("x-frame-options"), "DENY")
    await response.text()
    assert.equal(await stop("SIGTERM"), 0)
  })

  it("prints the stack in order and ends", async (t) => {
    const folder = site(t)
    writeFileSync(
      join(folder, "bext.config.toml"),
      '[middleware.cors]\norigins = ["*"]\n[middleware.rate_limit]\nrequests = 1\nwindow = "1m"\n[plugins.security-headers]\npriority = 150\n',
    )
    const { code, out } = await runBext(["serve", "--print-stack"], { cwd: folder })
    assert.equal(code, 0)
    const names = [...out.matchAll(/^ *(\d+) +(\S+)/gm)].map(([, priority, name]) => `${priority} ${name}`)
    assert.deepEqual(names.slice(0, 2).concat(names[2]!.split(" ")[0]!), ["100 cors", "150 security-headers", "200"])
  })

  it("says three ways to begin when there is nothing to serve", async (t) => {
    const { code, err } = await runBext(["serve"], { cwd: temporaryFolder(t) })
    assert.equal(code, 2)
    assert.match(err, /bext serve --static DIR/)
    assert.match(err, /bext serve --upstream URL/)
    assert.match(err, /bext init/)
  })

  it("says what is wrong with what it was given", async (t) => {
    const cwd = temporaryFolder(t)
    const folder = await runBext(["serve", "--static", "nowhere"], { cwd })
    assert.equal(folder.code, 1)
    assert.match(folder.err, /app\.static: there is no folder .*nowhere/)
    const url = await runBext(["serve", "--upstream", "localhost:4000"], { cwd })
    assert.equal(url.code, 1)
    assert.match(url.err, /app\.upstream: expected a URL .*\n.*write "http:\/\/localhost:4000"/)
    const both = await runBext(["serve", "--config", "a.toml", "--static", "b"], { cwd })
    assert.equal(both.code, 2)
    const port = await runBext(["serve", "--static", "."], { cwd, env: { PORT: "http" } })
    assert.match(port.err, /the environment variable PORT is "http"/)
  })

  it("names the port that is in use", async (t) => {
    const other = createServer().listen(0, "127.0.0.1")
    t.after(() => other.close())
    await once(other, "listening")
    const { port } = other.address() as AddressInfo
    const { code, err } = await runBext(["serve", "--static", "public", "--listen", `127.0.0.1:${port}`], {
      cwd: site(t),
    })
    assert.equal(code, 1)
    assert.match(err, new RegExp(`error E_PORT_IN_USE: .*${port}`))
    assert.match(err, /what to do: stop the other server/)
    assert.doesNotMatch(err, /^\s+at /m)
  })
})
