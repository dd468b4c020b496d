import assert from "node:assert/strict"
import { type ChildProcess, spawn } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import { once } from "node:events"
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { Agent, type IncomingMessage, request } from "node:http"
import { buffer } from "node:stream/consumers"
import { after, before, describe, it } from "node:test"
import { exchangeRaw, until } from "../http/serve-test.ts"
import { freePort } from "../support/free-port.ts"
import { findProgram, missing, NGINX } from "../support/programs.ts"
import { createProject, type Project, type ServedChild, serveInChild } from "../support/serve.ts"

const BIG = randomBytes(24 << 20)
const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

describe("in front of nginx", { skip: missing(NGINX) }, () => {
  let project: Project
  let nginx: ChildProcess
  let bext: ServedChild
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })

  before(async () => {
    const port = await freePort()
    project = createProject({ "nginx.conf": "", "www/index.html": "nginx's page", "www/page.txt": "0123456789" })
    writeFileSync(project.path("nginx.conf"), configuration(project.folder, port))
    writeFileSync(project.path("www/big.bin"), BIG)
    mkdirSync(project.path("body"))
    // Started by root, its workers are another user.
    for (const folder of ["", "www", "body"]) chmodSync(project.path(folder), 0o777)
    nginx = spawn(findProgram(NGINX)!, ["-c", project.path("nginx.conf"), "-p", project.folder], { stdio: "ignore" })
    const upstream = `http://127.0.0.1:${port}`
    await until(() => readLog(project).includes("start worker process"), "nginx is up")
    bext = await serveInChild(`[server.limits]\nbody = "64mb"\n[app]\nupstream = "${upstream}"`)
  })
  after(async () => {
    agent.destroy()
    await bext?.[Symbol.asyncDispose]()
    if (nginx?.exitCode === null) {
      nginx.kill("SIGTERM")
      await once(nginx, "exit")
    }
    project?.[Symbol.dispose]()
  })

  async function ask(path: string, options: { method?: string; headers?: Record<string, string>; body?: Buffer } = {}) {
    const { method = "GET", headers = {}, body } = options
    const outgoing = request(new URL(path, bext.url), { method, headers, agent }).end(body)
    const [response] = (await once(outgoing, "response")) as [IncomingMessage]
    const { statusCode: status } = response
    return { status, headers: response.headers, body: await buffer(response) }
  }

  it("passes on pages, types and validators", async () => {
    const { status, headers, body } = await ask("/")
    assert.deepEqual([status, String(body), headers["content-type"]], [200, "nginx's page", "text/html"])
    assert.match(headers.etag!, /^"[\da-f]+-[\da-f]+"$/)
    assert.equal(headers["content-length"], "12")
  })

  it("keeps connections open on both sides", async () => {
    const connections = new Set<string>()
    for (let i = 0; i < 10; i++) connections.add(String((await ask("/connection")).body))
    assert.equal(connections.size, 1)
  })

  it("answers conditional requests with 304 and no body, and the connection stays in step", async () => {
    const { headers } = await ask("/page.txt")
    const unchanged = await ask("/page.txt", { headers: { "If-None-Match": headers.etag! } })
    assert.deepEqual([unchanged.status, unchanged.body.length, unchanged.headers.etag], [304, 0, headers.etag])
    const since = await ask("/page.txt", { headers: { "If-Modified-Since": headers["last-modified"]! } })
    assert.equal(since.status, 304)
    const failed = await ask("/page.txt", { headers: { "If-Match": '"other"' } })
    assert.equal(failed.status, 412)
    assert.equal(String((await ask("/page.txt")).body), "0123456789")
  })

  it("answers ranges", async () => {
    const part = await ask("/page.txt", { headers: { Range: "bytes=2-4" } })
    assert.deepEqual([part.status, String(part.body)], [206, "234"])
    assert.equal(part.headers["content-range"], "bytes 2-4/10")
    const several = await ask("/page.txt", { headers: { Range: "bytes=0-0,9-9" } })
    assert.match(several.headers["content-type"]!, /^multipart\/byteranges/)
    const beyond = await ask("/page.txt", { headers: { Range: "bytes=10-" } })
    assert.deepEqual([beyond.status, beyond.headers["content-range"]], [416, "bytes */10"])
  })

  it("answers HEAD with the length and nothing else", async () => {
    const { status, headers, body } = await ask("/big.bin", { method: "HEAD" })
    assert.deepEqual([status, headers["content-length"], body.length], [200, String(BIG.length), 0])
    assert.equal((await ask("/page.txt")).status, 200)
  })

  it("passes on a big response and a big body whole", async () => {
    assert.equal(hash((await ask("/big.bin")).body), hash(BIG))
    const sent = await ask("/echo", { method: "POST", body: BIG })
    assert.deepEqual([sent.status, hash(sent.body)], [200, hash(BIG)])
    const chunked = await ask("/echo", { method: "POST", body: BIG, headers: { "Transfer-Encoding": "chunked" } })
    assert.deepEqual([chunked.status, hash(chunked.body)], [200, hash(BIG)])
  })

  it("ignores Upgrade, which nginx never sees", async () => {
    const { port } = new URL(bext.url)
    const text = await exchangeRaw(
      Number(port),
      `${[
        ...["GET /upgrade HTTP/1.1", "Host: a", "Upgrade: websocket", "Connection: upgrade, close"],
        ...["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"],
      ].join("\r\n")}\r\n\r\n`,
    )
    assert.match(text, /^HTTP\/1\.1 200 /)
    assert.match(text, /upgrade=\[\] connection=\[(keep-alive)?\]/)
  })

  it("passes on the redirects and errors that nginx gives", async () => {
    const gone = await ask("/nowhere")
    assert.equal(gone.status, 404)
    assert.match(String(gone.body), /<center>nginx/)
    const moved = await ask("/moved")
    assert.deepEqual([moved.status, moved.headers.location], [301, "https://other.example/"])
  })
})

/** Everything it writes stays in `folder`. /echo gives the body back; its temporary file is the way to do so without a module. */
function configuration(folder: string, port: number): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${folder}/body/${name};`,
  )
  return `
daemon off;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log notice;
events { worker_connections 64; }
http {
  access_log off;
  ${temporary.join("\n  ")}
  types { text/html html; text/plain txt; }
  client_max_body_size 64m;
  server {
    listen 127.0.0.1:${port};
    root ${folder}/www;
    location = /connection { return 200 "$connection"; }
    location = /upgrade { return 200 "upgrade=[$http_upgrade] connection=[$http_connection]"; }
    location = /moved { return 301 https://other.example/; }
    location = /echo {
      client_body_in_file_only clean;
      proxy_pass http://127.0.0.1:${port}/kept;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_set_header X-File $request_body_file;
      proxy_method GET;
    }
    location = /kept { root /; try_files $http_x_file =404; }
  }
}
`
}

function readLog(project: Project): string {
  try {
    return readFileSync(project.path("error.log"), "utf8")
  } catch {
    return ""
  }
}
