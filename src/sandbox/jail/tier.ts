import { posix, relative, sep } from "node:path"
import type { GuestServices } from "../../host/services.ts"
import type { GuestSource, InstanceMode, Limits, ProgramSource, Sandbox, SandboxTier } from "../sandbox.ts"
import { DataQuota } from "./data-quota.ts"
import { JailSandbox } from "./jail-sandbox.ts"
import type { JailLauncher, LaunchOptions } from "./launcher.ts"

/** The tier for programs: each is a process, or several, which the launcher isolates as well as this machine allows. */
export function createJailTier(launcher: JailLauncher): SandboxTier {
  return {
    tier: "nsjail",
    isolation: launcher.isolation,
    load: (source, services, limits, mode) => load(launcher, source, services, limits, mode),
  }
}

async function load(
  launcher: JailLauncher,
  source: GuestSource,
  services: GuestServices,
  limits: Limits,
  mode: InstanceMode,
): Promise<Sandbox> {
  const { name, program } = source
  if (program === undefined) throw new TypeError(`${name}: a program needs to be told how it is run`)
  source.noteFile?.(source.entry)
  const { data } = program
  const quota = data === null ? null : new DataQuota(name, data.folder, data.quotaBytes)
  const launch = toLaunch(source, program, limits)
  return JailSandbox.open({ name, services, limits, program, mode, launcher, launch, quota })
}

function toLaunch({ name, folder, entry }: GuestSource, program: ProgramSource, limits: Limits): LaunchOptions {
  const inside = posix.join("/plugin", relative(folder, entry).split(sep).join("/"))
  return {
    name,
    command: program.interpreter === null ? [inside] : [program.interpreter, inside],
    folder,
    dataFolder: program.data?.folder ?? null,
    readOnlyPaths: program.readOnlyPaths,
    env: {},
    limits: {
      memoryBytes: limits.memoryBytes,
      cpus: program.cpus,
      pids: program.pids,
      openFiles: program.openFiles,
      fileBytes: program.fileBytes,
      tmpBytes: program.tmpBytes,
    },
  }
}
