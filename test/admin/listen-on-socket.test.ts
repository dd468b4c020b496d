import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { chmodSync, existsSync, lstatSync, mkdirSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer, type Server } from "node:http"
import { join } from "node:path"
import { describe, it, type TestContext } from "node:test"
import { listenOnSocket } from "../../src/admin/listen-on-socket.ts"
import { shortSocketPath } from "../../src/admin/short-socket-path.ts"
import { temporaryFolder } from "../cli/run-bext.ts"
import { adminProject } from "./admin-project.ts"
import { ask } from "./ask.ts"

function serverFor(t: TestContext): Server {
  const server = createServer((_, response) => response.end("hello"))
  t.after(() => server.close())
  return server
}

describe("the admin socket", () => {
  it("is for its user alone, in a folder made for it", async (t) => {
    const path = join(temporaryFolder(t), "new", "admin.sock")
    const server = serverFor(t)
    await listenOnSocket(server, path)
    assert.equal(lstatSync(path).mode & 0o777, 0o600)
    assert.equal(statSync(join(path, "..")).mode & 0o777, 0o700)
    assert.equal((await ask({ socketPath: path }, "/")).text, "hello")
    server.close()
    await once(server, "close")
    assert.ok(!existsSync(path))
  })

  it("replaces the one of a server that was killed, but never one that answers", async (t) => {
    const path = join(temporaryFolder(t), "admin.sock")
    const script = `require("http").createServer().listen(${JSON.stringify(path)}, () => console.log("up"))`
    const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] })
    await once(child.stdout, "data")
    await assert.rejects(listenOnSocket(serverFor(t), path), {
      code: "E_ADMIN_IN_USE",
      message: /another running server/,
    })
    child.kill("SIGKILL")
    await once(child, "exit")
    assert.ok(lstatSync(path).isSocket(), "left behind")
    await listenOnSocket(serverFor(t), path)
    assert.equal((await ask({ socketPath: path }, "/")).text, "hello")
  })

  it("is not put where others could put one, nor over something else", async (t) => {
    const folder = temporaryFolder(t)
    const expect = async (path: string, message: RegExp) => {
      await assert.rejects(listenOnSocket(serverFor(t), join(folder, path)), { code: "E_ADMIN_SOCKET", message })
    }
    for (const mode of [0o777, 0o720, 0o1777]) {
      mkdirSync(join(folder, String(mode)))
      chmodSync(join(folder, String(mode)), mode)
      await expect(`${mode}/admin.sock`, /writable by other users.*chmod go-w/s)
    }
    writeFileSync(join(folder, "file"), "precious")
    await expect("file", /is not a socket/)
    symlinkSync(join(folder, "file"), join(folder, "link"))
    await expect("link", /is not a socket/)
    mkdirSync(join(folder, "folder"))
    await expect("folder", /is not a socket/)
    await expect("no/such/admin.sock", /ENOENT/)
    await expect("file/admin.sock", /ENOTDIR/)
  })

  it("may have a path longer than sockets can have", { skip: process.platform !== "linux" }, async (t) => {
    const folder = join(temporaryFolder(t), "x".repeat(120))
    mkdirSync(folder)
    const path = join(folder, "admin.sock")
    const server = serverFor(t)
    await listenOnSocket(server, path)
    assert.equal(lstatSync(path).mode & 0o777, 0o600)
    {
      using short = shortSocketPath(path)
      assert.ok(short.path.length < 108)
      assert.equal((await ask({ socketPath: short.path }, "/")).text, "hello")
    }
    await assert.rejects(listenOnSocket(serverFor(t), path), { code: "E_ADMIN_IN_USE" })
    server.close()
    await once(server, "close")
    assert.ok(!existsSync(path))
    await assert.rejects(listenOnSocket(serverFor(t), join(folder, "y".repeat(120))), { code: "E_ADMIN_SOCKET" })
  })

  it("is left out with a warning where nothing was asked for and it cannot be made", async () => {
    await using project = await adminProject('[app]\nstatic = "public"\n[state]\ndir = "data"\n', { ".bext": "a file" })
    assert.deepEqual(project.address, { kind: "off" })
    assert.ok(project.tail.lines(100).some((line) => line.includes("the admin listener is off")))
    await assert.rejects(
      adminProject('[app]\nstatic = "public"\n[state]\ndir = "data"\n[admin]\nlisten = "unix:run/a.sock"\n', {
        run: "a file",
      }),
      { code: "E_ADMIN_SOCKET" },
    )
  })
})

describe("the settings of the admin listener", () => {
  const start = (admin: string) => adminProject(`[app]\nstatic = "public"\n[admin]\n${admin}`)

  it("need a token on an address, a long one, another one for metrics", async () => {
    await assert.rejects(start('listen = "127.0.0.1:0"'), { code: "E_CONFIG_INVALID", message: /needs token/ })
    await assert.rejects(start('metrics_token = "env:BEXT_METRICS_TOKEN"'), {
      code: "E_CONFIG_INVALID",
      message: /needs token/,
    })
    await assert.rejects(start('listen = "127.0.0.1:0"\ntoken = "literal"'), {
      code: "E_CONFIG_INVALID",
      message: /env:NAME/,
    })
    await assert.rejects(start('listen = "127.0.0.1:0"\ntoken = "env:SHORT"'), {
      code: "E_CONFIG_INVALID",
      message: /admin\.token: the value of env:SHORT has 5 characters; expected at least 16/,
    })
    const same = 'listen = "127.0.0.1:0"\ntoken = "env:BEXT_ADMIN_TOKEN"\nmetrics_token = "env:BEXT_ADMIN_TOKEN"'
    await assert.rejects(start(same), { code: "E_CONFIG_INVALID", message: /it would do everything/ })
  })

  it("say what they expect", async () => {
    await assert.rejects(start("listen = 9100"), { message: /expected/ })
    await assert.rejects(start('listen = "9100"'), { message: /write "127\.0\.0\.1:9100"/ })
    await assert.rejects(start('listen = "run/admin.sock"'), { message: /write "unix:run\/admin\.sock"/ })
    await assert.rejects(start('listn = "off"'), { message: /did you mean listen/ })
  })

  it("may switch it off", async () => {
    await using project = await start('listen = "off"')
    assert.deepEqual(project.address, { kind: "off" })
    assert.ok(!existsSync(join(project.folder, ".bext/admin.sock")))
  })

  it("may be every address: each is a name of its own, and the log says that others can listen", async () => {
    const settings = 'listen = ":0"\ntoken = "env:BEXT_ADMIN_TOKEN"\nallowed_hosts = ["my_bext", "bext.internal"]'
    await using project = await start(settings)
    const { port } = project.where as { port: number }
    const status = async (host: string) => (await project.ask("/v1/health", { headers: { host } })).status
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, "my_bext:9100", "bext.internal"]) {
      assert.equal(await status(host), 200, host)
    }
    for (const host of [`0.0.0.0:${port}`, `[::]:${port}`, `10.1.2.3:${port}`, "internal", "x.bext.internal"]) {
      assert.equal(await status(host), 403, host)
    }
    assert.ok(project.tail.lines(100).some((line) => /can be reached from other machines/.test(line)))
  })

  it("name another program on its port", async (t) => {
    const server = serverFor(t).listen(0, "127.0.0.1")
    await once(server, "listening")
    const { port } = server.address() as { port: number }
    await assert.rejects(start(`listen = "127.0.0.1:${port}"\ntoken = "env:BEXT_ADMIN_TOKEN"`), {
      code: "E_ADMIN_IN_USE",
      message: /another program listens/,
    })
  })
})
