import type { PluginStatus, ProcessStatus, ProgramStatus } from "../admin/control.ts"
import type { HttpServer } from "../http/server.ts"
import type { LoadedPlugin } from "../plugins/loaded-plugin.ts"
import type { Role } from "../plugins/role.ts"
import type { EventLoopDelay } from "../telemetry/event-loop-delay.ts"
import { LEVELS } from "./describe-isolation.ts"
import type { Snapshots } from "./snapshots.ts"

export interface ProcessStatusParts {
  readonly snapshots: Snapshots
  readonly http: HttpServer
  readonly role: Readonly<Role>
  readonly eventLoop: EventLoopDelay
}

/** What one serving process says of itself. */
export function toProcessStatus({ snapshots, http, role, eventLoop }: ProcessStatusParts): ProcessStatus {
  const inMemory = [...snapshots.plugins]
  return {
    pid: process.pid,
    state: http.state,
    leader: role.leader,
    startedAtMs: Math.round(performance.timeOrigin),
    crashes: 0,
    snapshot: snapshots.current.number,
    retiring: snapshots.retiring,
    connections: http.connections,
    requestsInFlight: snapshots.requestsInFlight,
    websockets: http.websockets.open,
    rssBytes: process.memoryUsage.rss(),
    instances: sum(inMemory.map(({ instances }) => instances)),
    guestMemoryBytes: sum(inMemory.map(({ memoryBytes }) => memoryBytes)),
    eventLoopDelayMs: eventLoop.meanMs,
    plugins: snapshots.current.plugins.plugins.map(toPluginStatus),
  }
}

function toPluginStatus(plugin: LoadedPlugin): PluginStatus {
  return {
    name: plugin.name,
    version: plugin.manifest.manifest.version,
    tier: plugin.tier,
    instance: plugin.instance,
    priority: plugin.priority,
    onError: plugin.onError,
    hooks: [...plugin.hooks],
    isolation: describeSandbox(plugin),
    program: toProgramStatus(plugin),
    path: plugin.path,
    lane: plugin.lane,
    quarantine: plugin.breaker.status,
    limits: plugin.limits,
    permissions: { ...plugin.permissions },
    stats: plugin.stats.snapshot(),
    memoryBytes: plugin.memoryBytes,
    instances: plugin.instances,
    evictions: plugin.evictions,
    generation: plugin.generation,
  }
}

/** What separates it from the host. */
function describeSandbox({ tier, isolation }: LoadedPlugin): string {
  if (tier === "quickjs") return "QuickJS in WebAssembly, in the server's process"
  if (tier === "wasm") return "WebAssembly, in the server's process"
  const level = isolation?.level ?? "process"
  return `a process of its own: ${LEVELS[level]} (${level})`
}

function toProgramStatus({ isolation, jails, leaderGuest }: LoadedPlugin): ProgramStatus | null {
  if (isolation === null) return null
  return {
    level: isolation.level,
    leaderAlone: leaderGuest !== null,
    ready: jails?.ready ?? 0,
    cpuMs: jails?.cpuMs ?? 0,
    restarts: Object.fromEntries(jails?.restarts ?? []),
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
