/** One of several serving processes; started by the supervisor in `serve.ts`, never by hand. */
import { runServingProcess } from "../processes/run-serving-process.ts"

runServingProcess(async (config, options) => {
  const { createServer } = await import("../create-server.ts")
  return createServer(config, options)
})
