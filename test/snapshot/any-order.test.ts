import assert from "node:assert/strict"
import { it } from "node:test"
import { mulberry32 } from "../support/mulberry32.ts"
import { plugin, type Site, serveSite, until } from "./site.ts"

const NAMES = ["one", "two", "three"]
const STEPS = 60

/** What a plugin of the model is made of. */
interface Made {
  code: number
  lib: number
  setting: number
}

/**
 * Edits, reloads, mistakes and aborts in an order drawn at random. The plugins say what they are made of and count calls in a
 * module variable, so a plugin that is stale, mixed from two versions, or needlessly loaded anew shows in the next answer.
 */
it(`after any of ${STEPS} edits and reloads, each plugin is what was last put into service, and no more was loaded`, async (t) => {
  const seed = Date.now() % 1_000_000
  t.diagnostic(`seed ${seed}`)
  const random = mulberry32(seed)
  const disk = new Map(NAMES.map((name) => [name, { code: 0, lib: 0, setting: 0 }]))
  const serving = new Map<string, { made: string; calls: number }>()
  const active = new Set(["one"])
  await using site = await serveSite(config(active, disk), files(disk))
  serve(active, disk, serving)
  for (let step = 0; step < STEPS; step++) {
    const name = NAMES[Math.floor(random() * NAMES.length)]!
    const made = disk.get(name)!
    const what = Math.floor(random() * 8)
    if (what === 0) made.code++
    if (what === 1) made.lib++
    if (what === 2) made.setting++
    if (what === 3 && !active.delete(name)) active.add(name)
    if (what < 2) site.write(files(new Map([[name, made]])))
    if (what === 4) await refuse(site, disk, active)
    else if (what === 5) await (await site.prepare(config(active, disk))).abort()
    else {
      const { loaded, kept } = await site.reload(config(active, disk))
      const expected = serve(active, disk, serving)
      assert.deepEqual({ loaded, kept }, expected, `step ${step}`)
    }
    for (const one of serving.values()) one.calls++
    const says = (await site.get()).headers["x-made"] ?? ""
    const expected = [...serving.values()].map(({ made, calls }) => `${made} ${calls}`).reverse()
    assert.equal(says, expected.join(", "), `step ${step}`)
  }
  await until(() => site.server.status().retiring === 0, "all are gone")
  assert.equal(site.server.status().plugins.length, serving.size)
})

function files(disk: ReadonlyMap<string, Made>) {
  return Object.assign(
    {},
    ...Array.from(disk, ([name, { code, lib }]) => ({
      ...plugin(
        name,
        `import { lib } from "./lib.js"
        let calls = 0
        export function onResponse(ctx) {
          ctx.response.appendHeader("x-made", "${name} ${code} " + lib + " " + bext.config.setting + " " + ++calls)
        }`,
      ),
      [`plugins/${name}/lib.js`]: `export const lib = ${lib}`,
    })),
  )
}

function config(active: ReadonlySet<string>, disk: ReadonlyMap<string, Made>): string {
  return inOrder(active)
    .map((name) => `[plugins.${name}.config]\nsetting = ${disk.get(name)!.setting}`)
    .join("\n")
}

/** The model of a reload. @returns what it must report. */
function serve(
  active: ReadonlySet<string>,
  disk: ReadonlyMap<string, Made>,
  serving: Map<string, { made: string; calls: number }>,
): { loaded: string[]; kept: string[] } {
  const before = new Map(serving)
  serving.clear()
  const report: { loaded: string[]; kept: string[] } = { loaded: [], kept: [] }
  for (const name of inOrder(active)) {
    const { code, lib, setting } = disk.get(name)!
    const made = `${name} ${code} ${lib} ${setting}`
    const kept = before.get(name)?.made === made
    report[kept ? "kept" : "loaded"].push(name)
    serving.set(name, { made, calls: kept ? before.get(name)!.calls : 0 })
  }
  return report
}

function inOrder(active: ReadonlySet<string>): string[] {
  return NAMES.filter((name) => active.has(name))
}

async function refuse(site: Site, disk: ReadonlyMap<string, Made>, active: ReadonlySet<string>): Promise<void> {
  site.write(plugin("broken", "export function onResponse( {"))
  await assert.rejects(site.prepare(`${config(active, disk)}\n[plugins.broken]`), { code: "E_PLUGIN_LOAD_FAILED" })
}
