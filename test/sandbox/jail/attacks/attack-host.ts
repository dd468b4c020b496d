/**
 * A process that starts jails as bext does, for tests that need another user, descriptors it did not ask for, or its death.
 * Arguments: the plugin's folder, which has the program `attacks`, and what the launcher shall do without. Orders and reports go through the channel to its parent.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import type { Readable } from "node:stream"
import { text } from "node:stream/consumers"
import { createJailLauncher } from "../../../../src/sandbox/jail/launch/create-jail-launcher.ts"
import type { Facility } from "../../../../src/sandbox/jail/launch/probe-isolation.ts"
import type { JailExit, JailLimits } from "../../../../src/sandbox/jail/launcher.ts"
import type { Attack, Order, Outcome, Place, Report } from "./orders.ts"

const MIB = 1024 * 1024
const LIMITS: JailLimits = {
  memoryBytes: 128 * MIB,
  cpus: 1,
  pids: 32,
  openFiles: 64,
  fileBytes: 16 * MIB,
  tmpBytes: 8 * MIB,
}
/** Longer than any attack; whoever is still there then is stuck. */
const GIVE_UP_MS = 60_000

interface Running {
  readonly stdout: Readable
  readonly stderr: Readable
  readonly exited: Promise<JailExit>
  cpuMs(): number
  kill(): void
}

const [, , folder, ...without] = process.argv
const launcher = await createJailLauncher({ sdkFolder: null, without: without as Facility[] })
const begun = new Map<number, Running>()

process.on("message", (order: Order) => {
  obey(order).then(
    (outcome) => report({ id: order.id, outcome }),
    (error: Error) => report({ id: order.id, failure: error.stack ?? error.message }),
  )
})
process.once("disconnect", () => process.exit())
report({ isolation: launcher.isolation, uid: process.getuid!() })

async function obey(order: Order): Promise<Outcome> {
  if (order.do === "run") return finish(await start(order.place, order.attack))
  if (order.do === "begin") {
    const running = await start(order.place, order.attack)
    begun.set(order.id, running)
    const [line] = await once(running.stdout, "data")
    return { out: String(line), err: "", code: null, signal: null, outOfMemory: false, cpuMs: 0 }
  }
  const running = begun.get(order.begun)!
  running.kill()
  return finish(running)
}

async function finish(running: Running): Promise<Outcome> {
  const timer = setTimeout(() => running.kill(), GIVE_UP_MS)
  let cpuMs = 0
  const sampler = setInterval(() => {
    cpuMs = running.cpuMs()
  }, 50)
  const [out, err, exit] = await Promise.all([all(running.stdout), all(running.stderr), running.exited])
  clearTimeout(timer)
  clearInterval(sampler)
  return { out, err, ...exit, cpuMs }
}

/** What it wrote; nothing when it was ended, for then nobody reads that. */
async function all(stream: Readable): Promise<string> {
  return stream.destroyed ? "" : text(stream).catch(() => "")
}

async function start(place: Place, attack: Attack): Promise<Running> {
  if (place === "plain") return startPlain(attack)
  return launcher.launch({
    name: "attacker",
    command: ["/plugin/attacks", ...attack.args],
    folder: folder!,
    dataFolder: attack.dataFolder ?? null,
    readOnlyPaths: attack.readOnlyPaths ?? [],
    env: { OF_THE_PLUGIN: "yes" },
    limits: { ...LIMITS, ...attack.limits },
  })
}

function startPlain({ args }: Attack): Running {
  const child = spawn(join(folder!, "attacks"), [...args], { cwd: folder!, stdio: ["ignore", "pipe", "pipe"] })
  const exited = once(child, "exit").then(([code, signal]) => ({ code, signal, outOfMemory: false }))
  return { stdout: child.stdout, stderr: child.stderr, exited, cpuMs: () => 0, kill: () => child.kill("SIGKILL") }
}

function report(message: Report): void {
  process.send!(message)
}
