import type { Plugin, RequestContext, ResponseContext } from "bext/plugin"
import { isObject, readCart } from "./cart.ts"
import { price, type Rules } from "./price.ts"

interface Config extends Rules {
  readonly at: "request" | "response"
  readonly on_invalid: "skip" | "refuse"
  readonly max_items: number
}

const config = bext.config as unknown as Config

const percentages = [
  ...(config.quantity_discounts ?? []).map(({ percent }) => percent),
  ...Object.values(config.coupons ?? {}).map(({ percent = 0 }) => percent),
  ...Object.values(config.tax ?? {}),
]
const tooFine = percentages.find((percent) => Number(percent.toFixed(2)) !== percent)
if (tooFine !== undefined) throw new Error(`${tooFine} percent has more than two decimals`)

export default {
  onRequest(ctx) {
    if (config.at !== "request" || !isJson(ctx.headers.get("content-type"))) return
    const priced = withPrices(ctx.body.text(), ctx)
    if ("text" in priced) return ctx.request.setBody(priced.text)
    if (config.on_invalid === "skip") return
    return Response.json({ error: priced.problem }, { status: 422 })
  },

  onResponse(ctx) {
    const { response } = ctx
    if (config.at !== "response" || response.status !== 200 || !isJson(response.headers.get("content-type"))) return
    // An answer to HEAD has the fields of a body it does not have.
    if (ctx.method === "HEAD") return
    const priced = withPrices(response.body.text(), ctx)
    if ("text" in priced) return response.setBody(priced.text)
    if (config.on_invalid === "skip") return
    console.error(`the app's answer cannot be priced: ${priced.problem}`)
    response.setStatus(502)
    response.setHeader("content-type", "application/json")
    response.setBody(JSON.stringify({ error: "the prices could not be worked out" }))
  },
} satisfies Plugin

/** JSON with the field `pricing`, in place of any it had; or why that is not possible. */
function withPrices(text: string, ctx: RequestContext | ResponseContext): { text: string } | { problem: string } {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { problem: "not JSON" }
  }
  const cart = readCart(value, config.max_items)
  if (typeof cart === "string" || !isObject(value)) return { problem: String(cart) }
  const country = cart.country ?? ctx.extensions.get("geo-redirect.country")
  const pricing = price({ ...cart, country }, config)
  if (pricing === null) return { problem: "the amounts are too large" }
  return { text: JSON.stringify({ ...value, pricing }) }
}

function isJson(type: string | null): boolean {
  return /^application\/([a-z0-9.+-]*\+)?json\s*(;|$)/i.test(type ?? "")
}
