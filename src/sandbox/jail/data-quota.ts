import { lstat, opendir } from "node:fs/promises"
import { join } from "node:path"
import { PluginError } from "../../errors.ts"

const LOOK_MS = 1000
/** Files and folders; each costs the machine more than its bytes. */
const MAX_ENTRIES = 10_000

/**
 * Bounds what a program keeps in its data folder. The kernel has no quota for a folder, so it is looked at every second; in
 * between, the program can go over it by what it writes in that time.
 */
export class DataQuota {
  readonly #plugin: string
  readonly #folder: string
  readonly #quotaBytes: number
  #over: PluginError | null = null
  #timer: NodeJS.Timeout | null = null
  #ended = false

  constructor(plugin: string, folder: string, quotaBytes: number) {
    this.#plugin = plugin
    this.#folder = folder
    this.#quotaBytes = quotaBytes
  }

  /** What is wrong, once it is. */
  get error(): PluginError {
    return this.#over ?? new PluginError("E_LIMIT_STORAGE", this.#plugin, "its data folder is full")
  }

  /** @throws {PluginError} `E_LIMIT_STORAGE`. */
  async check(): Promise<void> {
    const { bytes, entries, isHidden } = await measure(this.#folder, this.#quotaBytes)
    this.#over = null
    if (bytes <= this.#quotaBytes && entries <= MAX_ENTRIES && !isHidden) return
    const has = isHidden
      ? "a part that cannot be looked at, closed or too deep"
      : bytes > this.#quotaBytes
        ? `more than ${this.#quotaBytes} bytes`
        : `more than ${MAX_ENTRIES} files`
    const what = `its data folder has ${has}; make room in ${this.#folder}, or raise limits.data_quota_mb`
    this.#over = new PluginError("E_LIMIT_STORAGE", this.#plugin, what)
    throw this.#over
  }

  /**
   * Looks again and again.
   * @param worked - Whether the program did anything since it was asked last.
   * @param over - Told each time the folder is over the quota.
   */
  watch(worked: () => boolean, over: () => void): void {
    if (this.#ended) return
    this.#timer = setTimeout(async () => {
      if (worked()) await this.check().catch(over)
      this.watch(worked, over)
    }, LOOK_MS)
    this.#timer.unref()
  }

  end(): void {
    this.#ended = true
    if (this.#timer !== null) clearTimeout(this.#timer)
  }
}

interface Found {
  bytes: number
  entries: number
  /** There may be anything in it. */
  isHidden: boolean
}

/** What is below a folder, as far as it has to be known. Files have the bytes they take, at least. */
async function measure(folder: string, enoughBytes: number): Promise<Found> {
  const found = { bytes: 0, entries: 0, isHidden: false }
  const failed = (error: unknown) => {
    found.isHidden ||= !isGone(error)
    return null
  }
  const folders = [folder]
  for (let at = folders.pop(); at !== undefined; at = folders.pop()) {
    const entries = await opendir(at).catch(failed)
    if (entries === null) continue
    for await (const entry of entries) {
      const path = join(at, entry.name)
      found.entries++
      if (entry.isDirectory()) folders.push(path)
      const stats = await lstat(path).catch(failed)
      // Sparse files take less than they seem to.
      found.bytes += (stats?.blocks ?? 0) * 512
      if (found.bytes > enoughBytes || found.entries > MAX_ENTRIES) return found
    }
  }
  return found
}

/** The program goes on working there. */
function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === "ENOENT" || code === "ENOTDIR"
}
