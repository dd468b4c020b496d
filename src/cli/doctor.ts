import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { availableParallelism, platform, release, tmpdir, totalmem } from "node:os"
import { join } from "node:path"
import { styleText } from "node:util"
import type { IsolationLevel } from "../sandbox/sandbox.ts"
import { LEVELS } from "../snapshot/describe-isolation.ts"

/** needed: bext cannot run without it. wanted: something is missing then. shown: nothing to judge. */
interface Finding {
  readonly name: string
  readonly state: "ok" | "missing" | "unwanted" | "shown"
  readonly value: string
  /** What to do about it, a line each. */
  readonly advice?: string | readonly string[]
}

/** `bext doctor`: tries out what this machine offers. */
export async function doctor(): Promise<number> {
  const findings = [node(), machine(), openFiles(), await sandboxes(), await database(), await programs()]
  const width = Math.max(...findings.map(({ name }) => name.length))
  for (const finding of findings) process.stdout.write(`${toLine(finding, width)}\n`)
  const isBroken = findings.some(({ state }) => state === "missing")
  process.stdout.write(isBroken ? "\nbext cannot run here yet.\n" : "\nbext can run here.\n")
  return isBroken ? 1 : 0
}

const MARKS = {
  ok: ["green", "ok  "],
  missing: ["red", "FAIL"],
  unwanted: ["yellow", "warn"],
  shown: ["dim", "    "],
} as const

function toLine({ name, state, value, advice }: Finding, width: number): string {
  const [colour, word] = MARKS[state]
  const line = `${styleText(colour, word, { stream: process.stdout })}  ${name.padEnd(width)}  ${value}`
  return [line, ...[advice ?? []].flat().map((row) => `${" ".repeat(width + 8)}${row}`)].join("\n")
}

const OLDEST_NODE = 24

function node(): Finding {
  const major = Number.parseInt(process.versions.node, 10)
  const finding = { name: "Node.js", value: `${process.version} (V8 ${process.versions.v8})` }
  if (major >= OLDEST_NODE) return { ...finding, state: "ok" }
  return {
    ...finding,
    state: "missing",
    advice: `install ${OLDEST_NODE} or newer, or use the one in node_modules/.bin`,
  }
}

function machine(): Finding {
  const memory = `${(totalmem() / 1024 ** 3).toFixed(1)} GB`
  const value = `${platform()} ${release()}, ${process.arch}, ${availableParallelism()} processors, ${memory}`
  return { name: "machine", state: "shown", value }
}

/** Every connection is an open file, and so is everything else. */
const FEW_FILES = 4096

function openFiles(): Finding {
  const name = "open files"
  const [, soft] = /^Max open files\s+(\d+)/m.exec(readIfThere("/proc/self/limits")) ?? []
  if (soft === undefined) return { name, state: "shown", value: "the limit of this system is not known" }
  const value = `at most ${soft}`
  if (Number(soft) >= FEW_FILES) return { name, state: "ok", value }
  return {
    name,
    state: "unwanted",
    value,
    advice: "connections need one each: ulimit -n 65536, or LimitNOFILE= in the unit file",
  }
}

async function sandboxes(): Promise<Finding> {
  const name = "sandboxes"
  const startedAtMs = performance.now()
  try {
    const { tryTiers } = await import("../create-tiers.ts")
    const tiers = await tryTiers()
    return { name, state: "ok", value: `${tiers.join(", ")}; checked and started in ${elapsed(startedAtMs)}` }
  } catch (error) {
    return { name, state: "missing", value: messageOf(error), advice: "install the packages again: npm ci" }
  }
}

async function database(): Promise<Finding> {
  const name = "database (LMDB)"
  const startedAtMs = performance.now()
  try {
    await writeAndRead()
    return { name, state: "ok", value: `wrote, synced and read in ${elapsed(startedAtMs)}` }
  } catch (error) {
    return {
      name,
      state: "missing",
      value: messageOf(error),
      advice: `is there space in ${tmpdir()}? otherwise: npm ci`,
    }
  }
}

async function writeAndRead(): Promise<void> {
  const { openLmdbStore } = await import("../state/lmdb-store.ts")
  const dir = mkdtempSync(join(tmpdir(), "bext-doctor-"))
  await using parts = new AsyncDisposableStack()
  parts.defer(() => rmSync(dir, { recursive: true, force: true }))
  const store = parts.use(openLmdbStore({ dir, log: { error() {} } }))
  const partition = "0".repeat(32)
  await store.write(partition, new Map([["key", { value: "value", expiresAtMs: 0 }]]))
  await store.flush()
  const stored = await store.read(partition, "key")
  if (stored?.value !== "value") throw new Error("what was written could not be read")
}

/** What plugins that are programs are kept apart by: the server's own launcher tries it. */
async function programs(): Promise<Finding> {
  const name = "programs (nsjail)"
  const startedAtMs = performance.now()
  try {
    const { probeIsolation } = await import("../create-tiers.ts")
    const { level, missing, cgroups, root, refused } = await probeIsolation()
    const of = cgroups === "none" ? "" : ` (cgroups ${cgroups})`
    const value = `isolation level ${level}: ${LEVELS[level]}${of}; as ${root ? "root" : "this user"}, tried in ${elapsed(startedAtMs)}`
    if (level === "full") return { name, state: "ok", value }
    return { name, state: "unwanted", value, advice: [...missing, consequence(level, refused !== null)] }
  } catch (error) {
    return { name, state: "unwanted", value: messageOf(error), advice: "plugins that are programs do not load" }
  }
}

function consequence(level: IsolationLevel, refused: boolean): string {
  if (refused) return "as long as bext is started by root, plugins that are programs do not load (E_ISOLATION)"
  if (level === "namespaces") return 'plugins with min_isolation = "full" do not load; others do'
  return 'plugins that are programs load only as folders of the project, or with min_isolation = "process": can you trust them?'
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, "utf8")
  } catch {
    return ""
  }
}

function elapsed(startedAtMs: number): string {
  return `${Math.round(performance.now() - startedAtMs)} ms`
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message.split("\n", 1)[0]! : String(error)
}
