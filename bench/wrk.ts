import { spawn, spawnSync } from "node:child_process"
import { text } from "node:stream/consumers"
import { PINS } from "./servers.ts"

export interface Load {
  readonly requests: number
  readonly perSecond: number
  /** Connections refused or broken, and answers that did not come in time. */
  readonly broken: number
}

/**
 * Loads `url` with wrk: one thread, 64 keep-alive connections.
 * @throws When an answer was not a success: a fast error is no result.
 */
export async function load(
  url: string,
  seconds: number,
  headers: readonly string[] = [],
  pins: readonly string[] = PINS.load,
): Promise<Load> {
  const args = ["-t1", "-c64", `-d${seconds}s`, ...headers.flatMap((header) => ["-H", header]), url]
  const [command, ...rest] = [...pins, "wrk", ...args]
  const child = spawn(command!, rest, { stdio: ["ignore", "pipe", "inherit"] })
  const output = await text(child.stdout)
  const failed = /Non-2xx or 3xx responses: (\d+)/.exec(output)
  if (failed !== null) throw new Error(`${url}: ${failed[1]} answers were no success`)
  const sockets = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(output)
  return {
    requests: Number(/(\d+) requests in/.exec(output)![1]),
    perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(output)![1]),
    broken: sockets === null ? 0 : sockets.slice(1).reduce((sum, count) => sum + Number(count), 0),
  }
}

export function hasWrk(): boolean {
  return spawnSync("wrk", ["-v"]).error === undefined
}
