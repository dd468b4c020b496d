/** A lane's thread that takes calls and never says a word about them. */
import { parentPort } from "node:worker_threads"

parentPort!.on("message", ({ type }: { type: string }) => {
  if (type === "call") for (;;);
})
parentPort!.postMessage({ type: "up" })
