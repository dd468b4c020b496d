/** Run with a limit on file sizes. Pushes until the disk is full, reports, waits for a line, and goes on. */
import { once } from "node:events"
import { openLmdbState } from "../../../src/state/open-lmdb-state.ts"

const dir = process.argv[2]!
const settings = JSON.parse(process.argv[3]!)
process.on("SIGXFSZ", () => {})
const logged: string[] = []
const { queues } = openLmdbState({ dir, log: { error: (_detail, message) => logged.push(message) } })
const value = JSON.stringify("x".repeat(20_000))
const push = () => queues.push(settings, { value, key: null, tenant: null, delayMs: 0 })
let pushed = 0
const codes = new Set<string>()
for (let failures = 0; failures < 5; ) {
  try {
    await push()
    pushed++
  } catch (error) {
    failures++
    codes.add((error as { code?: string }).code ?? String(error))
  }
}
const [queue] = await queues.list()
console.log(JSON.stringify({ pushed, codes: [...codes], messages: queue!.messages, logged: logged.length }))
await once(process.stdin, "data")
await push()
let handled = 0
for (;;) {
  const { leases } = await queues.lease(settings, 50)
  if (leases.length === 0) break
  await queues.settle(
    settings,
    leases.map((lease) => ({ lease, as: "done" })),
  )
  handled += leases.length
}
console.log(JSON.stringify({ handled, left: (await queues.list())[0]!.messages }))
process.exit(0)
