/** Handles messages until it is killed: adds "KEY NUMBER" to a file that all handlers share, then acknowledges. */
import { appendFileSync } from "node:fs"
import { openLmdbState } from "../../../src/state/open-lmdb-state.ts"

const [dir = "", file = "", settingsText = ""] = process.argv.slice(2)
const settings = JSON.parse(settingsText)
const { queues } = openLmdbState({ dir, log: console })
console.log("ready")
for (;;) {
  const { leases } = await queues.lease(settings, 4)
  for (const lease of leases) {
    appendFileSync(file, `${lease.key} ${lease.value}\n`)
    await queues.settle(settings, [{ lease, as: "done" }])
  }
  if (leases.length === 0) await new Promise((later) => setTimeout(later, 5))
}
