// Extism in this thread (foreground), where it has no deadline and no metering.
import createPlugin, { type CallContext } from "@extism/extism"
import type { REQUEST } from "../in-process.ts"

export interface ExtismCall {
  /** The guest asks a function of the host for the one header. */
  header(): Promise<unknown>
  /** The usual way: the request as JSON, the answer as JSON. */
  json(): Promise<unknown>
  compute(): Promise<unknown>
  /** Until then it keeps what passed in every call. */
  reset(): Promise<unknown>
}

/** @param bytes - extism-guest.c, compiled. */
export async function createCall(request: typeof REQUEST, bytes: Uint8Array): Promise<ExtismCall> {
  const headers = new Map<string, string>(Object.entries(request.headers))
  const get_header = (context: CallContext, block: bigint) =>
    context.store(headers.get(context.read(block)?.text() ?? "") ?? "")
  const plugin = await createPlugin(
    { wasm: [{ data: bytes }] },
    { runInWorker: false, functions: { "extism:host/user": { get_header } } },
  )
  return {
    header: () => plugin.call("on_request"),
    json: async () => (await plugin.call("on_request_json", JSON.stringify(request)))?.json(),
    compute: () => plugin.call("compute"),
    reset: () => plugin.reset(),
  }
}
