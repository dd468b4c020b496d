import type { Plugin } from "bext/plugin"

let answered = 0

export default {
  onRequest(ctx) {
    answered++
    return Response.json({
      you: ctx.user?.id ?? null,
      tenant: ctx.tenantId,
      method: ctx.method,
      path: ctx.path,
      query: Object.fromEntries(ctx.searchParams),
      address: ctx.clientAddress,
      requestId: ctx.requestId,
      answeredByThisInstance: answered,
    })
  },
} satisfies Plugin
