import { execFile } from "node:child_process"
import { accessSync, constants, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { availableParallelism, platform, release, tmpdir, totalmem } from "node:os"
import { join } from "node:path"
import { promisify, styleText } from "node:util"

/** needed: bext cannot run without it. wanted: something is missing then. shown: nothing to judge. */
interface Finding {
  readonly name: string
  readonly state: "ok" | "missing" | "unwanted" | "shown"
  readonly value: string
  /** What to do about it. */
  readonly advice?: string
}

/** `bext doctor`: tries out what this machine offers. */
export async function doctor(): Promise<number> {
  const findings = [
    node(),
    machine(),
    openFiles(),
    await sandboxes(),
    await database(),
    ...(platform() === "linux" ? [await userNamespaces(), await bubblewrap(), cgroups()] : []),
  ]
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
  return advice === undefined ? line : `${line}\n${" ".repeat(width + 8)}${advice}`
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
    const { createTiers, tryTiers } = await import("../create-tiers.ts")
    await tryTiers()
    const tiers = [...createTiers().keys()].join(", ")
    return { name, state: "ok", value: `${tiers}; checked and started in ${elapsed(startedAtMs)}` }
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

async function userNamespaces(): Promise<Finding> {
  const name = "user namespaces"
  const isUsable = await succeeds("unshare", ["--user", "--map-root-user", "true"])
  return { name, state: "shown", value: isUsable ? "usable" : "not permitted to this user" }
}

async function bubblewrap(): Promise<Finding> {
  const name = "bubblewrap"
  const isUsable = await succeeds("bwrap", ["--ro-bind", "/", "/", "--unshare-all", "true"])
  if (isUsable) return { name, state: "shown", value: "usable: isolates processes" }
  const isThere = await succeeds("bwrap", ["--version"])
  return {
    name,
    state: "shown",
    value: isThere ? "installed, but this user may not use it" : "not installed (package bubblewrap)",
  }
}

function cgroups(): Finding {
  const name = "cgroups"
  const controllers = readIfThere("/sys/fs/cgroup/cgroup.controllers").trim()
  if (controllers === "" && !existsSync("/sys/fs/cgroup/memory")) return { name, state: "shown", value: "none" }
  const version = controllers === "" ? "version 1" : `version 2 (${controllers})`
  return { name, state: "shown", value: `${version}, ${isWritable("/sys/fs/cgroup") ? "writable" : "read only"}` }
}

const PROBE_TIMEOUT_MS = 5000

/** Tries a thing out: what a version number promises, the system may still forbid. */
async function succeeds(program: string, args: readonly string[]): Promise<boolean> {
  try {
    await promisify(execFile)(program, args, { timeout: PROBE_TIMEOUT_MS })
    return true
  } catch {
    return false
  }
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
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
