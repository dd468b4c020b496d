import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, type TestContext } from "node:test"
import { createJailLauncher } from "../../../src/sandbox/jail/launch/create-jail-launcher.ts"
import type { JailLauncher } from "../../../src/sandbox/jail/launcher.ts"
import { createJailTier } from "../../../src/sandbox/jail/tier.ts"
import type { InstanceMode, Limits, ProgramSource, Sandbox } from "../../../src/sandbox/sandbox.ts"
import { RecordingServices } from "../../contracts/recording-services.ts"
import { event, LIMITS } from "../../contracts/sandbox-contract.ts"

export interface ProgramOptions {
  readonly services?: RecordingServices
  readonly limits?: Partial<Limits>
  readonly mode?: InstanceMode
  readonly program?: Partial<ProgramSource>
}

const PROGRAM: ProgramSource = {
  interpreter: "/usr/bin/python3",
  capabilities: ["middleware", "lifecycle"],
  jails: 1,
  minIsolation: "process",
  data: null,
  readOnlyPaths: [],
  cpus: 1,
  pids: 32,
  openFiles: 256,
  fileBytes: 16 * 1024 * 1024,
  tmpBytes: 4 * 1024 * 1024,
}

let launcher: Promise<JailLauncher> | null = null
after(async () => {
  await (await launcher)?.[Symbol.asyncDispose]()
})

/** Loads a Python program, and makes it ready. */
export async function openProgram(t: TestContext, source: string, options: ProgramOptions = {}): Promise<Sandbox> {
  const sandbox = await loadProgram(t, source, options)
  await sandbox.ready(sandbox.hooks.has("on_server_start") ? event("on_server_start", [null]) : null)
  return sandbox
}

export async function loadProgram(t: TestContext, source: string, options: ProgramOptions = {}): Promise<Sandbox> {
  const { services = new RecordingServices(), limits = {}, mode = "shared", program = {} } = options
  const folder = await mkdtemp(join(tmpdir(), "bext-program-"))
  t.after(() => rm(folder, { recursive: true }))
  // Whoever runs the program is nobody.
  await chmod(folder, 0o755)
  const entry = join(folder, "main.py")
  await writeFile(entry, PREAMBLE + source)
  launcher ??= createJailLauncher({ sdkFolder: null })
  const guest = { name: "program", folder, entry, program: { ...PROGRAM, ...program } }
  const sandbox = await createJailTier(await launcher).load(guest, services, { ...LIMITS, ...limits }, mode)
  t.after(() => sandbox[Symbol.asyncDispose]())
  return sandbox
}

const PREAMBLE = `
import json, os, signal, sys, time

def write(text):
    sys.stdout.write(text)
    sys.stdout.flush()

def say(**message):
    write(json.dumps(message) + "\\n")

def hear_any():
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return json.loads(line)

def hear():
    message = hear_any()
    return hear() if message["method"] == "leader" else message

def greet(*hooks, **more):
    hear()
    say(id=0, ok=True, protocol=1, hooks=list(hooks), **more)

def respond(call, text):
    say(id=call["id"], ok=True, action="respond", body=text)
`
