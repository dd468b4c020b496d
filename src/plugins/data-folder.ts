import { chmodSync, mkdirSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { partitionId } from "../host/storage.ts"

const PASS = 0o001

/**
 * What a program sees as /data. Belongs to (name, owner) as storage does: another plugin under an old name has another
 * folder. All processes of a server have the same one.
 * @param owner - Whose storage the plugin has.
 * @returns an absolute path; there need not be anything yet.
 */
export function dataFolder(stateDir: string, plugin: string, owner: string): string {
  return join(stateDir, "nsjail", partitionId({ plugin, owner, tenant: null }), "data")
}

/**
 * Root starts programs as another user, who has to get to the folder: whoever knows a name may pass through those on the
 * way to it, and list none of them.
 * @param changed - Told when the state's own folder, which may be the operator's, was not like that.
 */
export function makeWay(stateDir: string, folder: string, changed: () => void): void {
  if (process.geteuid?.() !== 0) return
  for (const place of [stateDir, join(stateDir, "nsjail"), dirname(folder)]) {
    mkdirSync(place, { recursive: true, mode: 0o711 })
    const { mode } = statSync(place)
    if ((mode & PASS) !== 0) continue
    chmodSync(place, (mode & 0o7777) | PASS)
    if (place === stateDir) changed()
  }
}
