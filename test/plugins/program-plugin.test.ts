import assert from "node:assert/strict"
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, it, type TestContext } from "node:test"
import { parseConfig } from "../../src/config/parse-config.ts"
import { probeIsolation } from "../../src/create-tiers.ts"
import { dataFolder } from "../../src/plugins/data-folder.ts"
import { isUnchanged } from "../../src/plugins/is-unchanged.ts"
import type { Tiers } from "../../src/plugins/load-plugin.ts"
import { createJailLauncher } from "../../src/sandbox/jail/launch/create-jail-launcher.ts"
import type { Facility } from "../../src/sandbox/jail/launch/probe-isolation.ts"
import { createJailTier } from "../../src/sandbox/jail/tier.ts"
import { loadProject, type ProjectOptions } from "./plugin-project.ts"
import { program } from "./program-files.ts"
import type { Files } from "./write-files.ts"

const ANSWERS = `
HOOKS = ["onRequest"]
def answer(method, params):
    return {"action": "respond", "status": 200, "body": "from a program: " + params["path"]}
`

/** @param config - Default: the plugin as it is. */
function load(t: TestContext, files: Files, config = "[plugins.hello]", options: ProjectOptions = {}) {
  return loadProject(t, { ...files, "bext.config.toml": config }, options)
}

/** The sandboxes of a machine that lacks something. */
async function tiersWithout(t: TestContext, without: readonly Facility[]): Promise<Tiers> {
  const launcher = await createJailLauncher({ sdkFolder: null, without })
  t.after(() => launcher[Symbol.asyncDispose]())
  return new Map([["nsjail", async () => createJailTier(launcher)]])
}

const isolation = await probeIsolation()
const needsJail = isolation.level === "process" && `this machine isolates nothing: ${isolation.missing.join("; ")}`

describe("a plugin that is a program", { skip: needsJail, concurrency: 2 }, () => {
  it("answers requests", async (t) => {
    const project = await load(t, program("hello", ANSWERS))
    const { response } = await project.request({ path: "/a" })
    assert.equal(response.status, 200)
    assert.equal(String(response.body), "from a program: /a")
    const plugin = project.plugin("hello")
    assert.equal(plugin.tier, "nsjail")
    assert.equal(plugin.isolation?.level, isolation.level)
    assert.equal(plugin.jails?.ready, 1)
    assert.ok(plugin.memoryBytes > 0)
  })

  it("runs as many times as jails says", async (t) => {
    const project = await load(t, program("hello", ANSWERS), "[plugins.hello]\njails = 3")
    assert.equal(project.plugin("hello").instances, 3)
  })

  it("takes the operator's interpreter before its own", async (t) => {
    await assert.rejects(load(t, program("hello", ANSWERS), '[plugins.hello]\ninterpreter = "no-such-python"'), {
      code: "E_PLUGIN_LOAD_FAILED",
      message: /no-such-python/,
    })
  })

  it("is what its manifest says: a hook without its capability is a load error with camelCase names", async (t) => {
    await assert.rejects(load(t, program("hello", ANSWERS, '"lifecycle"')), {
      code: "E_PLUGIN_HOOK_MISMATCH",
      message: /onRequest without the capability: add "middleware"/,
    })
  })

  it("is not started where there is less isolation than the operator demands, for all programs or for it", async (t) => {
    const tiers = await tiersWithout(t, ["cgroups"])
    const files = program("hello", ANSWERS)
    const all = '[sandbox.nsjail]\nmin_isolation = "full"\n[plugins.hello]'
    await assert.rejects(load(t, files, all, { tiers }), {
      code: "E_ISOLATION",
      message:
        /needs the isolation level full, and this machine offers namespaces: .*memory, processes and CPU of a program.*to do without it, write \[plugins\.hello\] min_isolation = "namespaces"/,
    })
    const lower = await load(t, files, `${all}\nmin_isolation = "namespaces"`, { tiers })
    assert.equal(lower.plugin("hello").isolation?.level, "namespaces")
    const higher = '[sandbox.nsjail]\nmin_isolation = "process"\n[plugins.hello]\nmin_isolation = "full"'
    await assert.rejects(load(t, files, higher, { tiers }), { code: "E_ISOLATION" })
  })

  it("runs unisolated only as a folder of the project, and then says so loudly", async (t) => {
    const tiers = await tiersWithout(t, ["namespaces"])
    const files = program("hello", ANSWERS)
    const local = await load(t, files, "[plugins.hello]", { tiers })
    const warning = local.lines.find(({ level, msg }) => level === "warn" && /RUNS WITHOUT ISOLATION/.test(msg))
    assert.match(
      warning?.msg ?? "",
      /^hello RUNS WITHOUT ISOLATION, as an ordinary process .*: it can read what its user can/,
    )
    const elsewhere = await load(t, files, "", { tiers })
    const foreign = `[plugins.hello]\npath = "${elsewhere.folder}/plugins/hello"`
    await assert.rejects(load(t, {}, foreign, { tiers }), {
      code: "E_ISOLATION",
      message: /needs the isolation level namespaces, .*for code that you trust .* min_isolation = "process"/,
    })
    const trusted = await load(t, {}, `${foreign}\nmin_isolation = "process"`, { tiers })
    assert.equal(String((await trusted.request({ path: "/b" })).response.body), "from a program: /b")
  })

  it("without plugin.toml is refused: all that is in its folder is what it would see", async (t) => {
    const files = { "tool.sh": "#!/bin/sh\n" }
    for (const more of ['\nsandbox = "nsjail"', ""]) {
      await assert.rejects(load(t, files, `[plugins.tool]\npath = "tool.sh"${more}`), {
        code: "E_PLUGIN_MANIFEST_INVALID",
        message: /tool\.sh has no plugin\.toml/,
      })
    }
  })

  it("whose folder holds the server's state is refused", async (t) => {
    const files = program("hello", ANSWERS)
    const moved = {
      "plugin.toml": files["plugins/hello/plugin.toml"]!,
      "main.py": files["plugins/hello/main.py"]!,
    }
    await assert.rejects(load(t, moved, '[plugins.hello]\npath = "."'), {
      code: "E_PLUGIN_MANIFEST_INVALID",
      message: /has .*\.bext in it, which no program may see/,
    })
  })

  it("sees what read_only_paths names, and nothing else outside its folder", async (t) => {
    const source = `
HOOKS = ["onRequest"]
def answer(method, params):
    from urllib.parse import unquote
    seen = [path for path in json.loads(unquote(params["query"])) if os.path.exists(path)]
    return {"action": "respond", "body": json.dumps(seen)}
`
    const files = { ...program("hello", source), "shown/a": "a", "hidden/a": "a" }
    const project = await load(t, files, `[plugins.hello]\nread_only_paths = ["{folder}/shown"]`)
    const paths = ["shown/a", "hidden/a", "bext.config.toml"].map((path) => join(project.folder, path))
    const query = encodeURIComponent(JSON.stringify([...paths, "/etc/shadow", "/etc/hostname"]))
    const { response } = await project.request({ path: "/", query })
    assert.deepEqual(JSON.parse(String(response.body)), [paths[0]])
  })

  const refused: [what: string, path: string][] = [
    ["the state", "{folder}/.bext"],
    ["what is in the state", "{folder}/.bext/state"],
    ["a folder with the state in it", "{folder}"],
  ]
  for (const [what, path] of refused) {
    it(`never sees ${what}`, async (t) => {
      await assert.rejects(load(t, program("hello", ANSWERS), `[plugins.hello]\nread_only_paths = ["${path}"]`), {
        code: "E_CONFIG_INVALID",
        message: /read_only_paths\[0\]: no program may see .*\.bext/,
      })
    })
  }

  it("never sees the admin socket by a link to it", async (t) => {
    const files = { ...program("hello", ANSWERS), "other/link": { link: "../run" }, "run/note": "" }
    const config = `[admin]\nlisten = "unix:{folder}/run/admin.sock"\n[plugins.hello]\nread_only_paths = ["{folder}/other/link"]`
    await assert.rejects(load(t, files, config), {
      code: "E_CONFIG_INVALID",
      message: /no program may see .*admin\.sock/,
    })
  })

  it("has a folder for its data that outlives it, and that nobody but it can list", async (t) => {
    const source = `
HOOKS = ["onRequest"]
def answer(method, params):
    with open("/data/count", "a") as file: file.write("x")
    return {"action": "respond", "body": open("/data/count").read()}
`
    const files = program("hello", source, '"middleware"', "data_dir = true")
    const project = await load(t, files)
    await project.request({ path: "/" })
    assert.equal(String((await project.request({ path: "/" })).response.body), "xx")
    const place = join(project.folder, ".bext/nsjail")
    const [hash] = readdirSync(place)
    assert.match(hash!, /^[0-9a-f]{32}$/)
    assert.equal(readFileSync(join(place, hash!, "data/count"), "utf8"), "xx")
    assert.equal(statSync(join(place, hash!, "data")).mode & 0o077, 0)
    for (const folder of [join(project.folder, ".bext"), place, join(place, hash!)]) {
      assert.equal(statSync(folder).mode & 0o066, 0, folder)
    }
  })

  it("with data and several tenants is refused, unless it says that it keeps them apart", async (t) => {
    const tenants = `[middleware.tenant]\nby = ["header:x-tenant"]\n[[tenants]]\nid = "a"\n[[tenants]]\nid = "b"\n`
    const files = (more: string) => program("hello", ANSWERS, '"middleware"', `data_dir = true\n${more}`)
    for (const more of ["", 'instance = "fresh"']) {
      await assert.rejects(load(t, files(more), `${tenants}[plugins.hello]`), {
        code: "E_PLUGIN_MANIFEST_INVALID",
        message: /what it writes to \/data for one of them, it can read for all/,
      })
    }
    const one = `${tenants}[plugins.hello]\nmatch = [{ tenants = ["a"] }]`
    assert.equal((await load(t, files(""), one)).plugin("hello").instance, "shared")
    const apart = await load(t, files('instance = "shared"'), `${tenants}[plugins.hello]`)
    assert.equal(apart.plugin("hello").instance, "shared")
  })

  it("is another one when any file of its folder has changed, also one that it reads only later", async (t) => {
    const files = { ...program("hello", ANSWERS), "plugins/hello/lib/words.txt": "a", "plugins/hello/.git/HEAD": "x" }
    const { loading, folder, plugin } = await load(t, files)
    const unchanged = () => isUnchanged(plugin("hello"), loading)
    assert.equal(await unchanged(), true)
    writeFileSync(join(folder, "plugins/hello/.git/HEAD"), "other")
    mkdirSync(join(folder, "plugins/hello/__pycache__"))
    assert.equal(await unchanged(), true)
    writeFileSync(join(folder, "plugins/hello/lib/words.txt"), "b")
    assert.equal(await unchanged(), false)
  })

  it("is another one when the operator asks for other isolation, of it or of all", async (t) => {
    const { loading, folder, plugin } = await load(t, program("hello", ANSWERS))
    const file = join(folder, "bext.config.toml")
    const unchanged = (text: string) =>
      isUnchanged(plugin("hello"), { ...loading, config: parseConfig(text, { file, env: {} }) })
    assert.equal(await unchanged("[plugins.hello]\n[plugins.other]\nenabled = false"), true)
    assert.equal(await unchanged('[plugins.hello]\nmin_isolation = "process"'), false)
    assert.equal(await unchanged('[sandbox.nsjail]\nmin_isolation = "process"\n[plugins.hello]'), false)
    assert.equal(await unchanged("[plugins.hello]\njails = 2"), false)
  })

  it("has no data of another one that had its name", () => {
    const folders = [
      dataFolder("/state", "hello", "/site/plugins/hello"),
      dataFolder("/state", "hello", "/elsewhere/hello"),
      dataFolder("/state", "hello", "bext"),
      dataFolder("/state", "other", "bext"),
    ]
    assert.equal(new Set(folders).size, folders.length)
    for (const folder of folders) assert.match(folder, /^\/state\/nsjail\/[0-9a-f]{32}\/data$/)
  })

  it("is another one when a file was added to its folder", async (t) => {
    const { loading, folder, plugin } = await load(t, program("hello", ANSWERS))
    writeFileSync(join(folder, "plugins/hello/later.py"), "")
    assert.equal(await isUnchanged(plugin("hello"), loading), false)
  })
})
