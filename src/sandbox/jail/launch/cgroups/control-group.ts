import { closeSync, constants, mkdirSync, openSync, readFileSync, rmdirSync } from "node:fs"
import type { Cgroup, CgroupLimits } from "./cgroups.ts"
import { codeOf } from "./code-of.ts"
import { CounterFile } from "./counter-file.ts"
import { killGroup } from "./kill-group.ts"
import type { Layout } from "./layout.ts"
import { removeFolders } from "./remove-folders.ts"

/**
 * Makes a group where the layout says. Nothing is left of it when that fails.
 * @param onRemoved - Called when `remove` has done so.
 * @throws {Error} When the kernel refuses.
 */
export function createControlGroup(layout: Layout, limits: CgroupLimits, onRemoved: () => void): ControlGroup {
  const made: string[] = []
  try {
    for (const folder of layout.folders) {
      mkdirSync(folder)
      made.push(folder)
    }
    layout.writeLimits(limits)
  } catch (error) {
    for (const folder of made) rmdirSync(folder)
    throw error
  }
  return new ControlGroup(layout, onRemoved)
}

/** A group that exists. */
export class ControlGroup implements Cgroup {
  readonly #layout: Layout
  readonly #onRemoved: () => void
  readonly #cpu: CounterFile
  readonly #memory: CounterFile
  /** Several may ask for it; one that failed may be asked for again. */
  #removing: Promise<void> | null = null

  constructor(layout: Layout, onRemoved: () => void) {
    this.#layout = layout
    this.#onRemoved = onRemoved
    this.#cpu = new CounterFile(layout.cpuFile)
    this.#memory = new CounterFile(layout.memoryFile)
  }

  openJoinFiles(): number[] {
    const descriptors: number[] = []
    try {
      for (const file of this.#layout.joinFiles) descriptors.push(openSync(file, constants.O_WRONLY))
    } catch (error) {
      for (const descriptor of descriptors) closeSync(descriptor)
      throw error
    }
    return descriptors
  }

  cpuMs(): number {
    return this.#cpu.read() / this.#layout.cpuUnitsPerMs
  }

  memoryBytes(): number {
    return this.#memory.read()
  }

  peakBytes(): number | null {
    const text = readIfThere(this.#layout.peakFile)
    return text === null ? null : Number(text)
  }

  oomKills(): number {
    return eventsIn(this.#layout.memoryEventsFile, /^oom_kill (\d+)$/m)
  }

  pidsRefused(): number {
    return eventsIn(this.#layout.pidsEventsFile, /^max (\d+)$/m)
  }

  setCpus(cpus: number): void {
    this.#layout.writeCpus(cpus)
  }

  kill(): void {
    killGroup(this.#layout.folders)
  }

  remove(): Promise<void> {
    this.#removing ??= this.#remove().finally(() => {
      this.#removing = null
    })
    return this.#removing
  }

  async #remove(): Promise<void> {
    this.#cpu[Symbol.dispose]()
    this.#memory[Symbol.dispose]()
    await removeFolders(this.#layout.folders, () => this.kill())
    this.#onRemoved()
  }
}

function eventsIn(file: string, line: RegExp): number {
  return Number(line.exec(readIfThere(file) ?? "")?.[1] ?? 0)
}

function readIfThere(file: string): string | null {
  try {
    return readFileSync(file, "utf8")
  } catch (error) {
    if (["ENOENT", "ENODEV"].includes(codeOf(error))) return null
    throw error
  }
}
