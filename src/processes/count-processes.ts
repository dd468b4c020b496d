import type { Config } from "../config/schema.ts"
import { cpuCount } from "./cpu-count.ts"

/**
 * How many serving processes a configuration asks for.
 * @param override - From the command line, instead of `server.processes`.
 */
export function countProcesses(config: Config, override?: Config["server"]["processes"]): number {
  const wanted = override ?? config.server.processes
  return wanted === "auto" ? cpuCount() : wanted
}
