// The usual way to call a QuickJS guest from Node: a long-lived context, JSON in and out, an interrupt handler as deadline.
import { getQuickJS } from "quickjs-emscripten"

const GUEST = `
globalThis.call = (text) => {
  const request = JSON.parse(text)
  return JSON.stringify(request.headers["x-plugin-key"] === "block" ? { action: "respond", status: 403 } : { action: "continue" })
}`

export async function createCall(request) {
  const context = (await getQuickJS()).newContext()
  let deadline = Number.POSITIVE_INFINITY
  context.runtime.setMemoryLimit(64 * 1024 * 1024)
  context.runtime.setInterruptHandler(() => performance.now() > deadline)
  context.unwrapResult(context.evalCode(GUEST)).dispose()
  const call = context.getProp(context.global, "call")
  return () => {
    deadline = performance.now() + 50
    const text = context.newString(JSON.stringify(request))
    const result = context.unwrapResult(context.callFunction(call, context.undefined, text))
    const answer = JSON.parse(context.getString(result))
    result.dispose()
    text.dispose()
    return answer
  }
}
