/** Writes until the file-size limit of this process stops it, then reports as JSON lines what that looked like. */
import { BextError } from "../../../src/errors.ts"
import { openLmdbStore } from "../../../src/state/lmdb-store.ts"
import { entry, PARTITION } from "../key-value-contract.ts"

const logged: string[] = []
const store = openLmdbStore({ dir: process.argv[2]!, log: { error: (_detail, message) => logged.push(message) } })
await store.write(PARTITION, new Map([["first", entry("kept")]]))
let failures = 0
let code = ""
for (let number = 0; number < 500 && failures < 3; number++) {
  try {
    await store.write(PARTITION, new Map([[`key-${number}`, entry("x".repeat(20_000))]]))
  } catch (error) {
    failures++
    code = error instanceof BextError ? error.code : String(error)
  }
}
const first = await store.read(PARTITION, "first")
console.log(JSON.stringify({ failures, code, first: first?.value, logged }))
// The parent lifts the limit and says so; then the store must work again without being reopened.
process.stdin.once("data", async () => {
  await store.write(PARTITION, new Map([["after", entry("y".repeat(20_000))]]))
  await store.flush()
  await store[Symbol.asyncDispose]()
  console.log(JSON.stringify({ recovered: true }))
  process.exit(0)
})
