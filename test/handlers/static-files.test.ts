import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, it, type TestContext } from "node:test"
import type { Handler } from "../../src/handlers/handler.ts"
import { absentOrThrow } from "../../src/handlers/open-inside.ts"
import { createStaticHandler } from "../../src/handlers/static-files.ts"
import { answer, exchangeRaw, serve, until } from "../http/serve-test.ts"
import { respondWith } from "./respond-with.ts"

const settled = new Date(Date.now() - 60_000)

function site(t: TestContext): {
  dir: string
  write: (path: string, content: string | Uint8Array, fresh?: boolean) => string
} {
  const base = mkdtempSync(join(tmpdir(), "bext-static-"))
  t.after(() => rmSync(base, { recursive: true, force: true }))
  const dir = join(base, "public")
  mkdirSync(dir)
  const write = (path: string, content: string | Uint8Array, fresh = false) => {
    const file = join(dir, path)
    mkdirSync(join(file, ".."), { recursive: true })
    writeFileSync(file, content)
    if (!fresh) utimesSync(file, settled, settled)
    return file
  }
  return { dir, write }
}

async function serveSite(t: TestContext, dir: string, otherwise?: Handler) {
  const failures: { code: string; message: string }[] = []
  const server = await serve(t, respondWith(createStaticHandler(dir, otherwise), failures))
  const get = (path: string, headers: Record<string, string> = {}, method = "GET") =>
    fetch(server.url + path, { headers, method, redirect: "manual" })
  return { ...server, get, failures }
}

describe("a static file", () => {
  it("comes with type, length, validators and its content, first and again", async (t) => {
    const { dir, write } = site(t)
    write("a.txt", "hello")
    const { get } = await serveSite(t, dir)
    for (let round = 0; round < 2; round++) {
      const response = await get("/a.txt")
      assert.equal(response.status, 200)
      assert.equal(response.headers.get("content-type"), "text/plain; charset=utf-8")
      assert.equal(response.headers.get("content-length"), "5")
      assert.equal(response.headers.get("accept-ranges"), "bytes")
      assert.equal(
        response.headers.get("last-modified"),
        new Date(Math.floor(settled.getTime() / 1000) * 1000).toUTCString(),
      )
      assert.match(response.headers.get("etag")!, /^"[0-9a-z]+-[0-9a-z]+"$/)
      assert.equal(await response.text(), "hello")
    }
  })

  for (const [name, type] of [
    ["a.html", "text/html; charset=utf-8"],
    ["a.CSS", "text/css; charset=utf-8"],
    ["a.js", "text/javascript; charset=utf-8"],
    ["a.json", "application/json"],
    ["a.svg", "image/svg+xml"],
    ["a.wasm", "application/wasm"],
    ["a", "application/octet-stream"],
    ["a.constructor", "application/octet-stream"],
    ["a.__proto__", "application/octet-stream"],
    ["ü b%.txt", "text/plain; charset=utf-8"],
  ] as const) {
    it(`called ${name} has the type ${type}`, async (t) => {
      const { dir, write } = site(t)
      write(name, "x")
      const { get } = await serveSite(t, dir)
      const response = await get(`/${encodeURIComponent(name)}`)
      assert.equal(response.headers.get("content-type"), type)
      assert.equal(await response.text(), "x")
    })
  }

  it("streams when it is large, with the same bytes", async (t) => {
    const { dir, write } = site(t)
    const content = Buffer.alloc(3_000_000, "0123456789")
    write("large.bin", content)
    const { get } = await serveSite(t, dir)
    assert.deepEqual(Buffer.from(await (await get("/large.bin")).arrayBuffer()), content)
    const part = await get("/large.bin", { Range: "bytes=1000000-2000000" })
    assert.equal(part.status, 206)
    assert.deepEqual(Buffer.from(await part.arrayBuffer()), content.subarray(1_000_000, 2_000_001))
  })

  it("answers HEAD like GET, without content", async (t) => {
    const { dir, write } = site(t)
    write("a.txt", "hello")
    write("empty.txt", "")
    const { get } = await serveSite(t, dir)
    for (const path of ["/a.txt", "/empty.txt"]) {
      const [head, full] = [await get(path, {}, "HEAD"), await get(path)]
      for (const name of ["content-type", "content-length", "etag", "last-modified", "accept-ranges"]) {
        assert.equal(head.headers.get(name), full.headers.get(name), name)
      }
      assert.equal(await head.text(), "")
    }
  })

  it("takes no other method: 405 with Allow", async (t) => {
    const { dir, write } = site(t)
    write("a.txt", "hello")
    const { get } = await serveSite(t, dir)
    for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
      const response = await get("/a.txt", {}, method)
      assert.equal(response.status, 405)
      assert.equal(response.headers.get("allow"), "GET, HEAD")
    }
  })

  it("is index.html in a folder, whose address ends with a slash", async (t) => {
    const { dir, write } = site(t)
    write("index.html", "root")
    write("docs é/index.html", "docs")
    mkdirSync(join(dir, "bare"))
    const { get } = await serveSite(t, dir)
    assert.equal(await (await get("/")).text(), "root")
    assert.equal(await (await get("/docs%20%C3%A9/")).text(), "docs")
    const response = await get("/docs%20%C3%A9?a=%2F&b")
    assert.equal(response.status, 301)
    assert.equal(response.headers.get("location"), "/docs%20%C3%A9/?a=%2F&b")
    assert.equal((await get("/bare")).status, 404)
    assert.equal((await get("/bare/")).status, 404)
    assert.equal((await get("/index.html/")).status, 404)
  })

  it("is replaced at once when it changes on disk", async (t) => {
    const { dir, write } = site(t)
    write("a.txt", "first")
    const { get } = await serveSite(t, dir)
    assert.equal(await (await get("/a.txt")).text(), "first")
    write("a.txt", "other")
    assert.equal(await (await get("/a.txt")).text(), "other")
    write("a.txt", "longer text", true)
    assert.equal(await (await get("/a.txt")).text(), "longer text")
    write("a.txt", "LONGER TEXT", true)
    assert.equal(await (await get("/a.txt")).text(), "LONGER TEXT")
    rmSync(join(dir, "a.txt"))
    assert.equal((await get("/a.txt")).status, 404)
  })

  it("cuts the connection when it shrinks while it is sent", async (t) => {
    const { dir, write } = site(t)
    const file = write("large.bin", Buffer.alloc(64 << 20))
    const { port, completed } = await serveSite(t, dir)
    const socket = connect(port, "127.0.0.1")
    socket.on("error", () => {})
    socket.write("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
    await new Promise((resolve) => socket.once("readable", resolve))
    truncateSync(file, 1 << 20)
    socket.resume()
    await until(() => completed.length === 1, "the response ends")
    assert.equal(completed[0]!.result.aborted, true)
  })

  it("leaves no file open, however the request ends", {
    skip: process.platform !== "linux" && "needs /proc",
  }, async (t) => {
    const { dir, write } = site(t)
    write("large.bin", Buffer.alloc(8 << 20))
    write("small.txt", "small")
    const { get, port } = await serveSite(t, dir)
    const etag = (await get("/large.bin", {}, "HEAD")).headers.get("etag")!
    await Promise.all([
      ...Array.from({ length: 5 }, () => get("/large.bin", { "If-None-Match": etag })),
      ...Array.from({ length: 5 }, () => get("/large.bin", { "If-Match": '"x"' })),
      ...Array.from({ length: 5 }, () => get("/large.bin", { Range: "bytes=99999999-" })),
      ...Array.from({ length: 5 }, () => get("/large.bin", {}, "HEAD")),
      ...Array.from({ length: 5 }, () => get("/small.txt")),
    ])
    for (let at = 0; at < 5; at++) {
      const socket = connect(port, "127.0.0.1")
      socket.on("error", () => {})
      socket.write("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
      await new Promise((resolve) => socket.once("readable", resolve))
      socket.resetAndDestroy()
    }
    const files = () => readdirSync("/proc/self/fd").filter((fd) => isLarge(fd)).length
    await until(() => files() === 0, "all handles are closed")
  })
})

describe("preconditions", () => {
  it("are evaluated in the order of RFC 9110 §13.2.2", async (t) => {
    const { dir, write } = site(t)
    write("a.txt", "hello")
    const { get } = await serveSite(t, dir)
    const etag = (await get("/a.txt")).headers.get("etag")!
    const then = settled.toUTCString()
    const earlier = new Date(settled.getTime() - 3_600_000).toUTCString()
    const later = new Date(settled.getTime() + 3_600_000).toUTCString()
    const cases: [Record<string, string>, number][] = [
      [{ "If-None-Match": etag }, 304],
      [{ "If-None-Match": `W/${etag}` }, 304],
      [{ "If-None-Match": `"a,b", W/"c", ${etag}` }, 304],
      [{ "If-None-Match": "*" }, 304],
      [{ "If-None-Match": '"other"' }, 200],
      [{ "If-None-Match": '"other"', "If-Modified-Since": then }, 200],
      [{ "If-Modified-Since": then }, 304],
      [{ "If-Modified-Since": later }, 304],
      [{ "If-Modified-Since": earlier }, 200],
      [{ "If-Modified-Since": "yesterday" }, 200],
      [{ "If-Modified-Since": "Sunday, 06-Nov-94 08:49:37 GMT" }, 200],
      [{ "If-Modified-Since": "Sun Nov  6 08:49:37 2094" }, 304],
      [{ "If-Match": etag }, 200],
      [{ "If-Match": "*" }, 200],
      [{ "If-Match": `W/${etag}` }, 412],
      [{ "If-Match": '"other"' }, 412],
      [{ "If-Match": '"other"', "If-None-Match": etag }, 412],
      [{ "If-Match": etag, "If-None-Match": etag }, 304],
      [{ "If-Match": etag, "If-Unmodified-Since": earlier }, 200],
      [{ "If-Unmodified-Since": earlier }, 412],
      [{ "If-Unmodified-Since": then }, 200],
      [{ "If-Unmodified-Since": "soon" }, 200],
    ]
    for (const [headers, status] of cases) {
      for (const method of ["GET", "HEAD"]) {
        const response = await get("/a.txt", headers, method)
        assert.equal(response.status, status, JSON.stringify(headers))
        if (status === 304) assert.equal(response.headers.get("etag"), etag)
        await response.text()
      }
    }
  })

  it("see a weak entity tag on a file that has only just changed", async (t) => {
    const { dir, write } = site(t)
    write("a.txt", "hello", true)
    const { get } = await serveSite(t, dir)
    const etag = (await get("/a.txt")).headers.get("etag")!
    assert.match(etag, /^W\//)
    assert.equal((await get("/a.txt", { "If-None-Match": etag })).status, 304)
    assert.equal((await get("/a.txt", { "If-Match": etag })).status, 412)
    assert.equal((await get("/a.txt", { Range: "bytes=0-1", "If-Range": etag })).status, 200)
  })
})

describe("ranges", () => {
  it("are served one at a time, inside the file", async (t) => {
    const { dir, write } = site(t)
    write("a.txt", "0123456789")
    write("empty.txt", "")
    const { get } = await serveSite(t, dir)
    const etag = (await get("/a.txt")).headers.get("etag")!
    const cases: [string, Record<string, string>, number, string, string | null][] = [
      ["bytes=0-0", {}, 206, "0", "bytes 0-0/10"],
      ["bytes=2-4", {}, 206, "234", "bytes 2-4/10"],
      ["bytes=8-", {}, 206, "89", "bytes 8-9/10"],
      ["bytes=-3", {}, 206, "789", "bytes 7-9/10"],
      ["bytes=-99", {}, 206, "0123456789", "bytes 0-9/10"],
      ["bytes=5-99", {}, 206, "56789", "bytes 5-9/10"],
      ["BYTES= 1-2 ", {}, 206, "12", "bytes 1-2/10"],
      ["bytes=10-", {}, 416, "", "bytes */10"],
      ["bytes=-0", {}, 416, "", "bytes */10"],
      ["bytes=4-2", {}, 200, "0123456789", null],
      ["bytes=-", {}, 200, "0123456789", null],
      ["bytes=a-b", {}, 200, "0123456789", null],
      ["bytes=0-1,3-4", {}, 200, "0123456789", null],
      ["items=0-1", {}, 200, "0123456789", null],
      ["bytes=99999999999999999999-", {}, 200, "0123456789", null],
      ["bytes=0-1", { "If-Range": etag }, 206, "01", "bytes 0-1/10"],
      ["bytes=0-1", { "If-Range": '"other"' }, 200, "0123456789", null],
      ["bytes=0-1", { "If-Range": `W/${etag}` }, 200, "0123456789", null],
      ["bytes=0-1", { "If-Range": settled.toUTCString() }, 206, "01", "bytes 0-1/10"],
      ["bytes=0-1", { "If-Range": new Date().toUTCString() }, 200, "0123456789", null],
      ["bytes=0-1", { "If-None-Match": etag }, 304, "", null],
    ]
    for (const [range, headers, status, body, contentRange] of cases) {
      const response = await get("/a.txt", { Range: range, ...headers })
      const text = await response.text()
      assert.equal(response.status, status, range)
      if (status !== 416) assert.equal(text, body, range)
      assert.equal(response.headers.get("content-range"), contentRange, range)
    }
    assert.equal((await get("/a.txt", { Range: "bytes=0-1" }, "HEAD")).status, 200)
    assert.equal((await get("/empty.txt", { Range: "bytes=0-0" })).status, 416)
  })
})

describe("what lies outside the site", () => {
  it("is not reached by any spelling of a path", async (t) => {
    const { dir, write } = site(t)
    write("in.txt", "inside")
    writeFileSync(join(dir, "..", "secret.txt"), "secret")
    const { port } = await serveSite(t, dir)
    for (const path of [
      "/../secret.txt",
      "/..%2fsecret.txt",
      "/%2e%2e/secret.txt",
      "/%2e%2e%2fsecret.txt",
      "/..%5csecret.txt",
      "/..\\secret.txt",
      "/.%00./secret.txt",
      "/in.txt/../../secret.txt",
      "/%252e%252e/secret.txt",
      "/..;/secret.txt",
      "/%c0%ae%c0%ae/secret.txt",
      "//../secret.txt",
      "/in.txt%00.html",
    ]) {
      const text = await exchangeRaw(port, `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
      assert.match(text, /^HTTP\/1\.1 40[04] /, path)
    }
  })

  it("is not reached by symbolic links, while links inside are followed", async (t) => {
    const { dir, write } = site(t)
    write("real/a.txt", "inside")
    writeFileSync(join(dir, "..", "secret.txt"), "secret")
    mkdirSync(join(dir, "..", "private"))
    writeFileSync(join(dir, "..", "private", "index.html"), "secret")
    mkdirSync(join(dir, "..", "public-not"))
    writeFileSync(join(dir, "..", "public-not", "a.txt"), "secret")
    symlinkSync("../secret.txt", join(dir, "file"))
    symlinkSync("../private", join(dir, "folder"))
    symlinkSync("../public-not/a.txt", join(dir, "prefix"))
    symlinkSync("/etc/passwd", join(dir, "passwd"))
    symlinkSync("loop", join(dir, "loop"))
    symlinkSync("missing", join(dir, "dangling"))
    symlinkSync("real", join(dir, "linked"))
    const { get } = await serveSite(t, dir)
    for (const path of ["/file", "/folder/", "/folder/index.html", "/prefix", "/passwd", "/loop", "/dangling"]) {
      const response = await get(path)
      assert.equal(response.status, 404, path)
      assert.doesNotMatch(await response.text(), /secret|root:/)
    }
    assert.equal(await (await get("/linked/a.txt")).text(), "inside")
  })

  it("stays out of reach when a kept file is swapped for a link", async (t) => {
    const { dir, write } = site(t)
    const file = write("a.txt", "inside")
    writeFileSync(join(dir, "..", "secret.txt"), "secret")
    utimesSync(join(dir, "..", "secret.txt"), settled, settled)
    const { get } = await serveSite(t, dir)
    assert.equal(await (await get("/a.txt")).text(), "inside")
    rmSync(file)
    symlinkSync("../secret.txt", file)
    assert.equal((await get("/a.txt")).status, 404)
  })
})

describe("what is not for publication", () => {
  it("is not there: dotfiles, except under /.well-known/", async (t) => {
    const { dir, write } = site(t)
    for (const path of [".env", ".git/config", "a/.htpasswd", "a/.hidden/b.txt", ".well-known/.secret", "..a"])
      write(path, "secret")
    write(".well-known/security.txt", "public")
    const { get } = await serveSite(t, dir)
    for (const path of [
      "/.env",
      "/.git/config",
      "/a/.htpasswd",
      "/a/.hidden/b.txt",
      "/.well-known/.secret",
      "/..a",
      "/%2eenv",
    ]) {
      assert.equal((await get(path)).status, 404, path)
    }
    assert.equal(await (await get("/.well-known/security.txt")).text(), "public")
  })

  it("is not there: pipes, devices and folders named like files", {
    skip: process.platform === "win32" && "no mkfifo",
  }, async (t) => {
    const { dir } = site(t)
    execFileSync("mkfifo", [join(dir, "pipe")])
    symlinkSync("/dev/zero", join(dir, "zero"))
    mkdirSync(join(dir, "folder", "index.html"), { recursive: true })
    const { get } = await serveSite(t, dir)
    for (const path of ["/pipe", "/zero", "/folder/", "/folder", `/${"x".repeat(300)}`, `/${"x/".repeat(3000)}`]) {
      assert.equal((await get(path)).status, 404, path.slice(0, 20))
    }
  })

  it("is a failure with a code, not an absence, when the system refuses it", () => {
    const refuse = (code: string) => () => absentOrThrow(Object.assign(new Error(), { code }), "/srv/a.txt")
    assert.throws(refuse("EACCES"), { code: "E_FILE_UNREADABLE", message: /\/srv\/a\.txt \(EACCES\)/ })
    assert.throws(refuse("EIO"), { code: "E_FILE_UNREADABLE" })
    assert.throws(refuse("EMFILE"), { code: "E_OVERLOADED" })
    assert.equal(refuse("ENOTDIR")(), undefined)
  })
})

describe("createStaticHandler", () => {
  it("refuses a folder that is not there or is a file", (t) => {
    const { dir, write } = site(t)
    const file = write("a.txt", "x")
    for (const path of [join(dir, "missing"), file]) {
      assert.throws(() => createStaticHandler(path), { code: "E_FILE_UNREADABLE" })
    }
  })

  it("leaves to the other handler what is no file", async (t) => {
    const { dir, write } = site(t)
    write("a.txt", "file")
    write(".env", "secret")
    const { get } = await serveSite(t, dir, { handle: (context) => answer(`other ${context.method} ${context.path}`) })
    assert.equal(await (await get("/a.txt")).text(), "file")
    assert.equal(await (await get("/b.txt")).text(), "other GET /b.txt")
    assert.equal(await (await get("/.env")).text(), "other GET /.env")
    assert.equal(await (await get("/a.txt", {}, "POST")).text(), "other POST /a.txt")
  })
})

/** Whether a descriptor of this process is an open regular file of the size the test serves. */
function isLarge(fd: string): boolean {
  try {
    const stats = statSync(`/proc/self/fd/${fd}`)
    return stats.isFile() && stats.size === 8 << 20
  } catch {
    return false
  }
}
