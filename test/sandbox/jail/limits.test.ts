import assert from "node:assert/strict"
import { globSync, rmSync } from "node:fs"
import { after, before, describe, it } from "node:test"
import { setTimeout as delay } from "node:timers/promises"
import { missingForPython } from "../../sdk/missing-for-jail.ts"
import { type Served, serve } from "../../support/serve.ts"

/** A program that goes for one limit after another, whatever it is told to: the path says which. */
const GREEDY = `
import os, subprocess, sys, threading, time
import bext

MIB = 1024 * 1024

@bext.on_request
def go_for(ctx):
    name = ctx.path.split("/")[2]
    if name == "calm":
        return bext.respond(200, "calm")
    return bext.respond(200, str(GO[name]()))

def memory():
    kept = []
    while len(kept) < 400:
        kept.append(b"x" * MIB)
    return len(kept)

def spin():
    while True: pass

def sleep():
    time.sleep(1000)

def processes():
    started = []
    try:
        while len(started) < 100:
            started.append(subprocess.Popen(["sleep", "100"]))
    except OSError as error:
        return f"{len(started)} {error.strerror}"
    finally:
        for process in started:
            process.kill()
            process.wait()
    return "100"

def open_files():
    kept = []
    try:
        while len(kept) < 500:
            kept.append(open("/dev/null"))
    except OSError as error:
        return f"{len(kept)} {error.strerror}"
    finally:
        for one in kept:
            one.close()
    return "500"

def fill(path, most):
    written = 0
    try:
        with open(path, "wb", buffering=0) as file:
            while written < most * MIB:
                written += file.write(b"x" * 65536)
    except OSError as error:
        return f"{written} {error.strerror}"
    return str(written)

def file():
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    return fill("/dev/shm/file" if os.path.exists("/plugin") else "file", 8)

def tmp():
    return fill("/tmp/file", 64)

def data():
    for n in range(8):
        fill(f"/data/{n}", 1)
    return "8 MiB"

def output():
    return "x" * (64 * MIB)

def cpus():
    children = [os.fork() for _ in range(3)] if threading.active_count() == 1 else []
    until = time.monotonic() + 1.5
    while time.monotonic() < until: pass
    if 0 in children:
        os._exit(0)
    for child in children:
        os.waitpid(child, 0)
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system

GO = {name.replace("_", "-"): call for name, call in list(globals().items()) if callable(call)}
bext.run()
`

/** Name of the plugin, which is what it goes for → a line of its plugin.toml. Everything else is as large as it can be. */
const PLUGINS = {
  memory: "max_memory_mb = 48",
  spin: "max_cpu_ms = 200",
  sleep: "max_time_ms = 300",
  processes: "max_processes = 12",
  "open-files": "max_open_files = 40",
  file: "max_file_mb = 1\ntmp_mb = 64",
  tmp: "tmp_mb = 2",
  data: "data_dir = true\ndata_quota_mb = 1",
  output: "",
  cpus: "cpus = 0.25",
} as const

const ROOMY = { max_memory_mb: 512, max_cpu_ms: 20_000, max_time_ms: 60_000 }

describe("a limit in plugin.toml holds a program", { skip: missingForPython() }, () => {
  let server: Served
  let level: string

  before(async () => {
    const { createJailLauncher } = await import("../../../src/sandbox/jail/launch/create-jail-launcher.ts")
    await using launcher = await createJailLauncher({ sdkFolder: null })
    level = launcher.isolation.level
    const names = Object.keys(PLUGINS) as (keyof typeof PLUGINS)[]
    const files = names.flatMap((name) => [
      [`plugins/${name}/plugin.toml`, manifest(name)] as const,
      [`plugins/${name}/main.py`, GREEDY] as const,
    ])
    const config = names.map((name) => `[plugins.${name}]\nmatch = [{ path = "/${name}/**" }]\n`)
    server = await serve(config.join(""), Object.fromEntries(files))
  })
  after(() => server[Symbol.asyncDispose]())

  /** What comes of it; afterwards the program serves, anew or still. */
  async function goFor(name: keyof typeof PLUGINS): Promise<string> {
    const answer = await ask(`/${name}/${name}`)
    await untilCalm(name)
    return answer
  }

  async function untilCalm(name: keyof typeof PLUGINS): Promise<void> {
    for (let i = 0; i < 200; i++) {
      if ((await ask(`/${name}/calm`)) === "200 calm") return
      await delay(100)
    }
    assert.fail(`${name} does not serve any more`)
  }

  async function ask(path: string): Promise<string> {
    const response = await fetch(new URL(path, server.url), { headers: { accept: "application/json" } })
    const text = await response.text()
    return `${response.status} ${response.ok ? text : (JSON.parse(text) as { code: string }).code}`
  }

  it("to its memory", async () => {
    assert.match(await goFor("memory"), level === "full" ? /^502 E_LIMIT_MEMORY$/ : /^502 E_GUEST_THREW$/)
  })

  it("to the CPU time of a call", async () => assert.equal(await goFor("spin"), "504 E_LIMIT_CPU"))

  it("to the time of a call", async () => assert.equal(await goFor("sleep"), "504 E_LIMIT_TIME"))

  it("to a number of processes", async () => {
    const [, count] = /^200 (\d+) Resource temporarily unavailable$/.exec(await goFor("processes")) ?? []
    assert.ok(Number(count) >= 4 && Number(count) < 12, `${count} processes`)
  })

  it("to a number of open files", async () => {
    const [, count] = /^200 (\d+) Too many open files$/.exec(await goFor("open-files")) ?? []
    assert.ok(Number(count) >= 10 && Number(count) < 40, `${count} files`)
  })

  it("to the size of a file", async () => assert.equal(await goFor("file"), `200 ${2 ** 20} File too large`))

  it("to the size of /tmp", async () => {
    const [, bytes] = /^200 (\d+) No space left on device$/.exec(await goFor("tmp")) ?? []
    assert.ok(Number(bytes) > 2 ** 20 && Number(bytes) <= 2 * 2 ** 20, `${bytes} bytes`)
  })

  it("to what its data folder may hold, until there is room again", async () => {
    await ask("/data/data")
    let answer = ""
    for (let i = 0; i < 100 && !answer.startsWith("502"); i++) {
      answer = await ask("/data/calm")
      await delay(100)
    }
    assert.match(answer, /^502 E_(LIMIT_STORAGE|GUEST_CRASHED)$/)
    for (const file of globSync(`${server.folder}/.bext/nsjail/*/data/*`)) rmSync(file)
    await untilCalm("data")
  })

  it("to the length of a line", async () => {
    assert.match(await goFor("output"), /^502 E_(GUEST_PROTOCOL|LIMIT_MESSAGE)$/)
  })

  it("to its share of the processors", async (t) => {
    if (level !== "full") return t.skip("there are no cgroups for it")
    const [, seconds] = /^200 ([\d.]+)$/.exec(await goFor("cpus")) ?? []
    // 1.5 s of a quarter, what Python needs to start, and what one process had to wait for after the others.
    assert.ok(Number(seconds) < 1.2, `${seconds} s of CPU`)
  })
})

function manifest(name: keyof typeof PLUGINS): string {
  const own = PLUGINS[name]
  const roomy = Object.entries(ROOMY).filter(([key]) => !own.includes(key))
  return `
[manifest]
name = "${name}"
version = "1.0.0"
capabilities = ["middleware"]
entry = "main.py"
[sandbox]
type = "nsjail"
interpreter = "/usr/bin/python3"
${own}
${roomy.map(([key, value]) => `${key} = ${value}`).join("\n")}
`
}
