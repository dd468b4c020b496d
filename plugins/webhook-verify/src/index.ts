import type { Plugin, RequestContext } from "bext/plugin"

interface Config {
  readonly header: string
  readonly format: "prefixed" | "hex" | "base64" | "timestamped"
  readonly tolerance_seconds: number
}

const config = bext.config as unknown as Config

export default {
  onRequest(ctx) {
    const problem = check(ctx)
    if (problem === null) return
    return Response.json({ error: problem }, { status: 401 })
  },
} satisfies Plugin

/** @returns What is wrong with the signature, or null. */
function check(ctx: RequestContext): string | null {
  const signature = ctx.headers.get(config.header)
  if (signature === null) return `missing header ${config.header}`
  const body = ctx.body.bytes()
  switch (config.format) {
    case "prefixed":
      return matches(signature, `sha256=${digest(body, "hex")}`)
    case "hex":
      return matches(signature.toLowerCase(), digest(body, "hex"))
    case "base64":
      return matches(signature, digest(body, "base64"))
    case "timestamped":
      return checkTimestamped(signature, body)
  }
}

function checkTimestamped(signature: string, body: Uint8Array): string | null {
  const parts = signature.split(",").map((part) => part.trim())
  const seconds = parts.find((part) => /^t=\d{1,12}$/.test(part))?.slice(2)
  if (seconds === undefined) return "signature has no timestamp"
  if (Math.abs(Date.now() / 1000 - Number(seconds)) > config.tolerance_seconds) return "signature is too old"
  const expected = `v1=${digest(concat(new TextEncoder().encode(`${seconds}.`), body), "hex")}`
  return parts.some((part) => matches(part, expected) === null) ? null : "signature does not match"
}

function matches(given: string, expected: string): string | null {
  return bext.crypto.timingSafeEqual(given, expected) ? null : "signature does not match"
}

function digest(data: Uint8Array, encoding: "hex" | "base64"): string {
  return bext.crypto.hmac("sha256", bext.secret("WEBHOOK_SECRET"), data, encoding)
}

function concat(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length)
  both.set(first)
  both.set(second, first.length)
  return both
}
