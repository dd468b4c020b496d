// The package "run": every call is a fresh context in a worker.
import { run } from "run"

const GUEST = `return request.header("x-plugin-key") === "block" ? { action: "respond", status: 403 } : { action: "continue" }`

export async function createCall(request) {
  const hostFunctions = { request: { header: (name) => request.headers[name] ?? null } }
  const source = GUEST.replace("request.header(", "await request.header(")
  return async () => {
    const result = await run({ source, hostFunctions })
    if (result.status !== "completed") throw new Error(`run: ${result.status}`)
    return result.value
  }
}
