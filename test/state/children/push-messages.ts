/** Pushes numbered messages of three keys until it is killed, and prints "KEY NUMBER" once each is on disk. */
import { openLmdbState } from "../../../src/state/open-lmdb-state.ts"

const [dir = "", begin = "0"] = process.argv.slice(2)
const settings = JSON.parse(process.argv[4]!)
const { queues } = openLmdbState({ dir, log: console })
for (let n = Number(begin); ; n++) {
  const push = async (key: string) => {
    await queues.push(settings, { value: String(n), key, tenant: null, delayMs: 0 })
    console.log(`${key} ${n}`)
  }
  await Promise.all(["a", "b", "c"].map(push))
  await new Promise((later) => setTimeout(later, 2))
}
