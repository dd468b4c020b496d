/** Writes numbered values for ever; prints a number once its value is flushed. Arguments: state folder. */
import { openLmdbStore } from "../../../src/state/lmdb-store.ts"
import { entry, PARTITION } from "../key-value-contract.ts"

const store = openLmdbStore({ dir: process.argv[2]!, log: console })
for (let number = 0; ; number++) {
  void store.write(PARTITION, new Map([[`key-${number}`, entry(String(number).padStart(8, "0").repeat(2000))]]))
  void store.write(PARTITION, new Map([["same", entry(String.fromCharCode(97 + (number % 26)).repeat(20_000))]]))
  await store.flush()
  console.log(number)
}
