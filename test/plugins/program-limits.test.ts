import assert from "node:assert/strict"
import { describe, it, type TestContext } from "node:test"
import { probeIsolation } from "../../src/create-tiers.ts"
import { eventually } from "../processes/several.ts"
import { loadProject } from "./plugin-project.ts"
import { program } from "./program-files.ts"

/** What each does is done by the request for its path; the answer says how it ended. */
const DEEDS = `
import resource, threading
HOOKS = ["onRequest"]

def attempt(deed):
    try: return deed()
    except Exception as error: return type(error).__name__

def allocate(): return len(bytearray(256 << 20))

def fork():
    count = 0
    while count < 200:
        try: pid = os.fork()
        except OSError: return "no more than " + str(count)
        if pid == 0:
            time.sleep(20)
            os._exit(0)
        count += 1
    return "all"

def open_files():
    files = []
    while len(files) < 1000:
        try: files.append(open("/dev/null"))
        except OSError: return "no more than " + str(len(files))
    return "all"

def write(path, megabytes):
    written = 0
    try:
        with open(path, "wb", buffering=0) as file:
            while written < megabytes: written += file.write(bytes(1 << 20)) >> 20
    except OSError as error: return "no more than " + str(written)
    return "all"

def loop():
    while True: pass

def spin():
    began = time.process_time()
    until = time.monotonic() + 1.5
    while time.monotonic() < until: pass
    return round(time.process_time() - began, 3)

def answer(method, params):
    deed = {
        "/allocate": allocate, "/fork": fork, "/files": open_files, "/spin": spin,
        "/file": lambda: write("/data/large", 8), "/tmp": lambda: write("/tmp/large", 8), "/data": lambda: write("/data/much", 40),
        "/loop": loop, "/sleep": lambda: time.sleep(20), "/nothing": lambda: "nothing",
    }[params["path"]]
    return {"action": "respond", "body": str(attempt(deed))}
`

const isolation = await probeIsolation()

async function deed(t: TestContext, path: string, sandbox: string, config = "[plugins.deeds]") {
  const files = program("deeds", DEEDS, '"middleware"', sandbox)
  const project = await loadProject(t, { ...files, "bext.config.toml": config })
  const { response } = await project.request({ path })
  return { answer: String(response.body), project }
}

describe("limits in plugin.toml", {
  skip: isolation.level !== "full" && `this machine offers ${isolation.level} alone`,
  concurrency: 2,
}, () => {
  it("max_memory_mb ends a program that takes more, which then serves again", async (t) => {
    const { answer, project } = await deed(t, "/allocate", "max_memory_mb = 64")
    assert.equal(answer, "E_LIMIT_MEMORY")
    assert.equal(String((await project.request({ path: "/nothing" })).response.body), "nothing")
    assert.deepEqual([...project.plugin("deeds").jails!.restarts], [["E_LIMIT_MEMORY", 1]])
    assert.equal((await deed(t, "/allocate", "max_memory_mb = 512")).answer, String(256 << 20))
  })

  it("max_cpu_ms ends a call that computes for longer", async (t) => {
    const files = program("deeds", DEEDS)
    const manifest = files["plugins/deeds/plugin.toml"]!.replace("max_cpu_ms = 2000", "max_cpu_ms = 200")
    const project = await loadProject(t, {
      ...files,
      "plugins/deeds/plugin.toml": manifest,
      "bext.config.toml": "[plugins.deeds]",
    })
    assert.equal(String((await project.request({ path: "/loop" })).response.body), "E_LIMIT_CPU")
    assert.equal(String((await project.request({ path: "/nothing" })).response.body), "nothing")
  })

  it("max_time_ms ends a call that waits for longer", async (t) => {
    assert.equal((await deed(t, "/sleep", "max_time_ms = 300")).answer, "E_LIMIT_TIME")
  })

  it("max_processes bounds processes", async (t) => {
    const { answer } = await deed(t, "/fork", "max_processes = 12")
    const [, count] = /^no more than (\d+)$/.exec(answer) ?? []
    assert.ok(Number(count) > 2 && Number(count) < 12, answer)
  })

  it("max_open_files bounds open files", async (t) => {
    const { answer } = await deed(t, "/files", "max_open_files = 40")
    const [, count] = /^no more than (\d+)$/.exec(answer) ?? []
    assert.ok(Number(count) > 20 && Number(count) < 40, answer)
  })

  it("max_file_mb bounds one file", async (t) => {
    assert.equal((await deed(t, "/file", "data_dir = true\nmax_file_mb = 2")).answer, "no more than 2")
    assert.equal((await deed(t, "/file", "data_dir = true\nmax_file_mb = 32")).answer, "all")
  })

  it("tmp_mb bounds /tmp", async (t) => {
    assert.match((await deed(t, "/tmp", "tmp_mb = 2")).answer, /^no more than [12]$/)
    assert.equal((await deed(t, "/tmp", "tmp_mb = 32")).answer, "all")
  })

  it("data_quota_mb bounds /data: a program over it is ended", async (t) => {
    const { project } = await deed(t, "/data", "data_dir = true\ndata_quota_mb = 4")
    const { jails, stats } = project.plugin("deeds")
    await eventually(() => jails!.restarts.has("E_LIMIT_STORAGE"), "it was ended")
    await eventually(async () => {
      await project.request({ path: "/nothing" })
      return stats.lastError !== null
    }, "it is not started while its folder is full")
    assert.match(stats.lastError!.message, /its data folder has more than 4194304 bytes; make room in .*data_quota_mb/)
  })

  it("cpus bounds the share of processors", async (t) => {
    const { answer } = await deed(t, "/spin", "cpus = 0.2")
    // Of 1.5 s: 0.3 s, and what the kernel lets it overdraw.
    assert.ok(Number(answer) < 0.75, answer)
  })

  it("of the operator win, and ceilings bound both", async (t) => {
    const own = "[plugins.deeds.limits]\nmax_open_files = 60"
    const { answer } = await deed(t, "/files", "max_open_files = 200", own)
    assert.ok(Number(/\d+/.exec(answer)![0]) < 60, answer)
    const ceiling = `[sandbox.ceilings]\nmax_open_files = 40\n${own}`
    const capped = await deed(t, "/files", "max_open_files = 200", ceiling)
    assert.ok(Number(/\d+/.exec(capped.answer)![0]) < 40, capped.answer)
    assert.ok(capped.project.lines.some(({ msg }) => /max_open_files is over \[sandbox\.ceilings\]/.test(msg)))
  })
})
