import assert from "node:assert/strict"
import { once } from "node:events"
import { mkdirSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { describe, it, type TestContext } from "node:test"
import { adminProject, ENV, HELLO, TCP } from "../admin/admin-project.ts"
import { runBext, temporaryFolder } from "./run-bext.ts"

function folderWith(t: TestContext, config: string): string {
  const folder = temporaryFolder(t)
  writeFileSync(join(folder, "bext.config.toml"), config)
  return folder
}

describe("a command for a running server", { concurrency: 2 }, () => {
  it("says where it looked and what to do when nobody answers", async (t) => {
    const cwd = folderWith(t, "")
    for (const args of [
      ["status"],
      ["reload"],
      ["logs"],
      ["plugin", "release", "a"],
      ["plugin", "quarantine", "a", "--reason", "x"],
    ]) {
      const { code, out, err } = await runBext(args, { cwd })
      assert.deepEqual([code, out], [1, ""], args.join(" "))
      assert.match(
        err,
        /error E_ADMIN_UNREACHABLE: cannot ask the server at .*\.bext\/admin\.sock, where .*bext\.config\.toml says it is: no server is running there\n\n {2}what to do: start the server with bext serve/,
      )
    }
    const bare = await runBext(["status"], { cwd: temporaryFolder(t) })
    assert.match(bare.err, /\.bext\/admin\.sock: no server is running there/)
  })

  it("says why it cannot look", async (t) => {
    const status = (config: string) => runBext(["status"], { cwd: folderWith(t, config), env: ENV })
    assert.match((await status('[admin]\nlisten = "off"')).err, /switches the admin listener off/)
    const unknown = await status('[admin]\nlisten = "127.0.0.1:0"\ntoken = "env:BEXT_ADMIN_TOKEN"')
    assert.match(unknown.err, /has port 0.*\n {2}name it with --admin http:\/\/ADDRESS:PORT/)
    for (const [url, hint] of [
      ["127.0.0.1:9100", /did you mean --admin http:\/\/127\.0\.0\.1:9100\?/],
      ["http://127.0.0.1:9100/v1/status", /needs a URL without a path/],
      ["http://me:secret@127.0.0.1:9100", /others see command lines\n {2}put it in BEXT_ADMIN_TOKEN/],
      ["file:///etc/passwd", /write --admin http/],
      ["unix:", /write --admin http/],
    ] as const) {
      const { code, err } = await runBext(["status", "--admin", url])
      assert.equal(code, 2)
      assert.match(err, hint)
    }
    const both = await runBext(["status", "--admin", "http://127.0.0.1:1", "--config", "a.toml"])
    assert.match(both.err, /do not go together/)
  })

  it("finds the server although its configuration has a mistake by now", async () => {
    const config = '[app]\nstatic = "public"\n[admin]\nlisten = "unix:run/my.sock"\n[plugins.hello]\n'
    await using project = await adminProject(config, { ...HELLO, "run/x": "" })
    const file = join(project.folder, "bext.config.toml")
    writeFileSync(file, `${config}priorty = 3\n[servr]\n`)
    const status = await runBext(["status"], { cwd: project.folder })
    assert.equal(status.code, 0)
    assert.match(status.err, /^warning: bext\.config\.toml has mistakes \(bext check shows them\)\n$/)
    assert.match(status.out, /hello +1\.2\.3 +inline/)
    const reload = await runBext(["reload"], { cwd: project.folder })
    assert.equal(reload.code, 1)
    assert.match(reload.err, /error E_CONFIG_INVALID: 2 problems in .*priorty: unknown key.*servr: unknown key/s)
  })

  it("takes the token from its environment and names what is wrong with it", async (t) => {
    await using project = await adminProject(`[app]\nstatic = "public"\n${TCP}`)
    const { port } = project.where as { port: number }
    const args = ["status", "--admin", `http://localhost:${port}`]
    assert.equal((await runBext(args, { env: { BEXT_ADMIN_TOKEN: ENV.BEXT_ADMIN_TOKEN } })).code, 0)
    assert.match((await runBext(args)).err, /error E_ADMIN_TOKEN: a bearer token is needed/)
    assert.match(
      (await runBext(args, { env: { BEXT_ADMIN_TOKEN: "wrong" } })).err,
      /error E_ADMIN_TOKEN: the token is wrong/,
    )
    const cwd = folderWith(t, TCP.replace(":0", `:${port}`))
    assert.equal((await runBext(["status"], { cwd, env: ENV })).code, 0)
    assert.match((await runBext(["status"], { cwd })).err, /E_ADMIN_TOKEN/)
  })

  it("prints JSON when asked to", async () => {
    await using project = await adminProject('[app]\nstatic = "public"\n[plugins.hello]\n', HELLO)
    const json = async (...args: string[]) =>
      JSON.parse((await runBext([...args, "--json"], { cwd: project.folder })).out)
    assert.deepEqual((await json("reload")).kept, ["hello"])
    assert.deepEqual(await json("plugin", "quarantine", "hello", "--reason", "x"), {
      plugin: "hello",
      quarantined: true,
    })
    assert.equal((await json("status")).plugins[0].quarantine.reason, "x")
    assert.deepEqual(await json("plugin", "release", "hello"), { plugin: "hello", quarantined: false })
  })

  it("cannot be made to write to the terminal by what answers", async () => {
    const evil = "\u001b[2J\u009b2J\u202e"
    const plugin = {
      name: evil,
      version: evil,
      tier: evil,
      lane: evil,
      failures: { [evil]: 1 },
      calls: 1,
      p50Ms: 1,
      p99Ms: 1,
      memoryBytes: 1,
    }
    const lastError = { atMs: 0, hook: evil, code: evil, message: evil, stack: `x\n at ${evil}` }
    const quarantine = { by: evil, reason: evil, sinceMs: 0, probeAtMs: null, code: null }
    const numbers = {
      requestsInFlight: 0,
      connections: 0,
      websockets: 0,
      rssBytes: 0,
      guestMemoryBytes: 0,
      eventLoopDelayMs: 0,
    }
    const processes = [{ ...numbers, pid: 1, crashes: 0, startedAtMs: 0, state: evil, plugins: [] }]
    const lastReload = { atMs: 0, by: evil, ok: false, code: evil, message: `a\n${evil}` }
    const answers: Record<string, object> = {
      "/v1/status": { version: evil, url: evil, startedAtMs: 0, configFile: evil, lastReload, processes, stack: [] },
      "/v1/plugins": { plugins: [{ ...plugin, quarantine, lastError }] },
      "/v1/reload": { durationMs: 1, snapshot: 1, loaded: [evil], kept: [evil], removed: [], replaced: false },
    }
    const server = createServer(({ url }, response) => {
      const answer = answers[url!]
      if (answer !== undefined) response.end(JSON.stringify(answer))
      else response.writeHead(400).end(JSON.stringify({ code: "E_ADMIN_REQUEST", detail: `a\n${evil}` }))
    }).listen(0, "127.0.0.1")
    await once(server, "listening")
    const admin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    try {
      for (const args of [
        ["status"],
        ["status", "--json"],
        ["reload"],
        ["reload", "--json"],
        ["logs"],
        ["plugin", "release", "x"],
      ]) {
        const { out, err } = await runBext([...args, "--admin", admin])
        assert.doesNotMatch(err, /defect/, args.join(" "))
        // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
        assert.doesNotMatch(out + err, /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/, args.join(" "))
      }
    } finally {
      server.close()
    }
  })

  it("recognises what is not the admin listener", async () => {
    const server = createServer((_, response) => response.end("<html>hello")).listen(0, "127.0.0.1")
    await once(server, "listening")
    const admin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    try {
      const { code, err } = await runBext(["status", "--admin", admin])
      assert.equal(code, 1)
      assert.match(err, /what answers at http:\/\/127\.0\.0\.1:\d+ is not the admin listener of bext/)
    } finally {
      server.close()
    }
  })

  it("reaches a socket whose path is longer than sockets can have", {
    skip: process.platform !== "linux",
  }, async (t) => {
    const deep = join(temporaryFolder(t), "x".repeat(100), "y".repeat(100))
    mkdirSync(deep, { recursive: true })
    const listen = `[app]\nstatic = "public"\n[admin]\nlisten = "unix:${deep}/admin.sock"\n`
    await using _project = await adminProject(listen)
    assert.equal((await runBext(["status", "--admin", `unix:${deep}/admin.sock`])).code, 0)
    assert.equal(
      (
        await runBext(["status"], {
          cwd: folderWith(t, listen.replace(/^.*public.*\n/m, 'upstream = "http://127.0.0.1:9"\n')),
        })
      ).code,
      0,
    )
  })
})
