export function onRequest(ctx) {
  if (ctx.headers.get("x-plugin-key") === "block") return { action: "respond", status: 403 }
}

export function onResponse(ctx) {
  ctx.response.setHeader("x-one", "1")
  ctx.response.setHeader("x-two", "2")
}
