import { existsSync, readFileSync } from "node:fs"
import { text } from "node:stream/consumers"
import type { Isolation } from "../../sandbox.ts"
import type { LaunchOptions } from "../launcher.ts"
import { type Bubblewrap, findBubblewrap } from "./bubblewrap.ts"
import type { Cgroups } from "./cgroups/cgroups.ts"
import { openCgroups } from "./cgroups/open-cgroups.ts"
import type { ChainSetup, Containment, User } from "./exec-chain.ts"
import { readHardLimits } from "./hard-limits.ts"
import type { JailStarter } from "./jail-starter.ts"
import type { EtcFiles } from "./mounts.ts"

/** What a machine may lack. "namespaces": bubblewrap is there, and is not allowed to make any. */
export type Facility = "bubblewrap" | "namespaces" | "user namespaces" | "cgroups" | "proc"

export interface ProbeSetup {
  readonly starter: JailStarter
  readonly etc: EtcFiles
  /** Absolute path of a folder that programs can read. */
  readonly folder: string
  /** Why there is no system-call filter; null when there is one. */
  readonly filterMissing: string | null
  readonly sdkFolder: string | null
  readonly user: User | null
  readonly without: ReadonlySet<Facility>
}

export interface Probed {
  readonly isolation: Isolation
  readonly setup: ChainSetup
  readonly cgroups: Cgroups | null
  /**
   * The way in which root mounts what the programs' user cannot get to, without a user namespace. Tried when first asked for.
   * Null: there is none.
   */
  readonly mountedByRoot: () => Promise<ChainSetup | null>
}

/** Finds the best way to start a program that works on this machine, by starting one. */
export async function probeIsolation(probe: ProbeSetup): Promise<Probed> {
  const root = probe.user !== null
  const linux = process.platform === "linux"
  const cgroups = linux && !probe.without.has("cgroups") ? await openCgroups() : null
  const usable = cgroups !== null && cgroups.version !== "none" ? cgroups : null
  const bubblewrap = linux && !probe.without.has("bubblewrap") ? await findBubblewrap() : NO_BUBBLEWRAP
  const { chains, missing } = chainsWith(probe, bubblewrap)
  const found = await firstThatWorks(probe, chains, usable)
  if (found.cgroups === null) await cgroups?.[Symbol.asyncDispose]()
  const level = found.setup.containment === "none" ? "process" : found.cgroups === null ? "namespaces" : "full"
  const isolation: Isolation = {
    level,
    missing: [
      ...(level === "process" ? [...missing, ...found.problems.slice(0, 1).map(explainNamespaces)] : []),
      ...(found.cgroups === null ? [explainCgroups(cgroups?.reason ?? "they are not used here")] : []),
    ],
    cgroups: found.cgroups?.version ?? "none",
    root,
    refused: linux && root && "missing" in bubblewrap ? `${bubblewrap.missing}; root runs no program without it` : null,
  }
  let asRoot: Promise<ChainSetup | null> | undefined
  const mountedByRoot = () => {
    asRoot ??= tryAsRoot(probe, found.setup, found.cgroups)
    return asRoot
  }
  return { isolation, setup: found.setup, cgroups: found.cgroups, mountedByRoot }
}

const NO_BUBBLEWRAP = { missing: "bubblewrap is not installed: install the package bubblewrap" }

/** Ways to start a program in namespaces, the best first; why there is none, when there is none. */
function chainsWith(
  probe: ProbeSetup,
  bubblewrap: Bubblewrap | { missing: string },
): { chains: ChainSetup[]; missing: string[] } {
  if (process.platform !== "linux") return { chains: [], missing: [`${process.platform} has no namespaces: use Linux`] }
  if ("missing" in bubblewrap) return { chains: [], missing: [bubblewrap.missing] }
  if (probe.filterMissing !== null) return { chains: [], missing: [probe.filterMissing] }
  if (probe.without.has("namespaces")) return { chains: [], missing: ["namespaces are not used here"] }
  const containments: Containment[] = [
    ...(probe.without.has("user namespaces") ? [] : ["user-namespace" as const]),
    ...(probe.user === null ? [] : ["root" as const]),
  ]
  const procs = probe.without.has("proc") ? [false] : [true, false]
  const chains = containments.flatMap((containment) =>
    procs.map((proc) => ({ ...plainChain(probe), containment, proc, bubblewrap })),
  )
  return { chains, missing: [] }
}

function plainChain({ etc, sdkFolder, user }: ProbeSetup): ChainSetup {
  return { containment: "none", bubblewrap: null, proc: true, etc, sdkFolder, user, hardLimits: readHardLimits() }
}

/** The last resort is not tried: there is nothing behind it. */
async function firstThatWorks(
  probe: ProbeSetup,
  chains: readonly ChainSetup[],
  cgroups: Cgroups | null,
): Promise<{ setup: ChainSetup; cgroups: Cgroups | null; problems: string[] }> {
  const problems: string[] = []
  for (const groups of cgroups === null ? [null] : [cgroups, null]) {
    for (const setup of chains) {
      const problem = await tryOut(probe, setup, groups)
      if (problem === null) return { setup, cgroups: groups, problems }
      problems.push(problem)
    }
  }
  const setup = plainChain(probe)
  const joins = cgroups !== null && (await tryOut(probe, setup, cgroups)) === null
  return { setup, cgroups: joins ? cgroups : null, problems }
}

async function tryAsRoot(probe: ProbeSetup, setup: ChainSetup, cgroups: Cgroups | null): Promise<ChainSetup | null> {
  if (probe.user === null || setup.containment !== "user-namespace") return null
  const asRoot: ChainSetup = { ...setup, containment: "root" }
  return (await tryOut(probe, asRoot, cgroups)) === null ? asRoot : null
}

/** @returns Null when the program ran; otherwise what was said of it. */
async function tryOut(probe: ProbeSetup, setup: ChainSetup, cgroups: Cgroups | null): Promise<string | null> {
  try {
    const jail = await probe.starter.start(setup, cgroups, toTrial(probe.folder))
    const timer = setTimeout(() => jail.kill(), TRIAL_MS)
    jail.stdin.end()
    jail.stdout.resume()
    const [said, { code }] = await Promise.all([text(jail.stderr), jail.exited])
    clearTimeout(timer)
    return code === 0 ? null : said.trim() || `it ended with ${code}`
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** Far more than a program needs that does nothing, milliseconds. */
const TRIAL_MS = 10_000

function toTrial(folder: string): LaunchOptions {
  return {
    name: "probe",
    command: ["true"],
    folder,
    dataFolder: null,
    readOnlyPaths: [],
    env: {},
    limits: {
      memoryBytes: 64 * 2 ** 20,
      cpus: 1,
      pids: 16,
      openFiles: 64,
      fileBytes: 2 ** 20,
      tmpBytes: 2 ** 20,
    },
  }
}

/** What keeps namespaces from being made, where it is known; and what to do. */
function explainNamespaces(problem: string): string {
  const reason = HINTS.find(({ holds }) => holds())?.hint ?? "see docs/nsjail-isolation.md"
  return `bubblewrap cannot keep programs apart here (${firstLine(problem)}): ${reason}`
}

const HINTS: readonly { readonly holds: () => boolean; readonly hint: string }[] = [
  {
    holds: () => setting("user/max_user_namespaces") === "0",
    hint: "allow user namespaces with sysctl user.max_user_namespaces=10000",
  },
  {
    holds: () => setting("kernel/unprivileged_userns_clone") === "0",
    hint: "allow user namespaces with sysctl kernel.unprivileged_userns_clone=1",
  },
  {
    holds: () => setting("kernel/apparmor_restrict_unprivileged_userns") === "1",
    hint: "let bubblewrap have user namespaces with an AppArmor profile, see docs/nsjail-isolation.md",
  },
  {
    holds: () => existsSync("/.dockerenv") || existsSync("/run/.containerenv"),
    hint: "the container forbids it, docs/nsjail-isolation.md has the options to start it with",
  },
]

/** Source: Documentation/admin-guide/sysctl. Empty where there is none of that name. */
function setting(name: string): string {
  try {
    return readFileSync(`/proc/sys/${name}`, "utf8").trim()
  } catch {
    return ""
  }
}

function explainCgroups(reason: string): string {
  return `no control groups bound memory, processes and CPU of a program as a whole: ${reason}`
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? ""
}
