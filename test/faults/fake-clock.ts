import { globSync, renameSync, writeFileSync } from "node:fs"
import { join } from "node:path"

/** The wall clock of processes that a test starts, as they see it; their monotonic clock goes on as it is. */
export interface FakeClock {
  /** For the environment of those processes. */
  readonly env: Readonly<Record<string, string>>
  /** Steps to so many hours beside the real time, in all of them, within a moment. */
  set(hours: number): void
}

/** Needs libfaketime. @param folder - For the file that says the time. */
export function createFakeClock(folder: string): FakeClock {
  const file = join(folder, "clock")
  const set = (hours: number) => {
    writeFileSync(`${file}.new`, `${hours < 0 ? "" : "+"}${hours}h\n`)
    renameSync(`${file}.new`, file)
  }
  set(0)
  const env = {
    LD_PRELOAD: findLibrary(),
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
    FAKETIME_CACHE_DURATION: "1",
    NO_FAKE_STAT: "1",
  }
  return { env, set }
}

/** Where Debian puts it: in a folder named after the machine. */
function findLibrary(): string {
  const [library] = globSync("/usr/lib/{,*/}faketime/libfaketime.so.1")
  if (library === undefined) throw new Error("libfaketime.so.1 is not where Debian puts it")
  return library
}
