import { readFileSync } from "node:fs"

/** What no child of this process can raise; Infinity where there is no such limit. */
export interface HardLimits {
  readonly dataBytes: number
  readonly fileBytes: number
  readonly openFiles: number
}

/** Source: proc_pid_limits(5). */
export function readHardLimits(): HardLimits {
  const table = readTable()
  return {
    dataBytes: hard(table, "Max data size"),
    fileBytes: hard(table, "Max file size"),
    openFiles: hard(table, "Max open files"),
  }
}

function readTable(): string {
  try {
    return readFileSync("/proc/self/limits", "utf8")
  } catch {
    return ""
  }
}

function hard(table: string, name: string): number {
  const row = table.split("\n").find((line) => line.startsWith(name)) ?? ""
  const [, hard] = row.slice(name.length).trim().split(/\s+/)
  return hard === undefined || hard === "unlimited" ? Number.POSITIVE_INFINITY : Number(hard)
}
