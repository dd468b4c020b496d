import type { Plugin, RequestContext } from "bext/plugin"

interface Config {
  readonly enabled: boolean
  readonly exempt_addresses: readonly string[]
  readonly retry_after_seconds: number
  readonly title: string
  readonly message: string
}

const config = bext.config as unknown as Config
const exempt = new Set(config.exempt_addresses)

export default {
  onRequest(ctx) {
    if (!config.enabled || exempt.has(ctx.clientAddress)) return
    const wantsPage = acceptsHtml(ctx)
    return {
      action: "respond",
      status: 503,
      headers: {
        "retry-after": String(config.retry_after_seconds),
        "cache-control": "no-store",
        "content-type": wantsPage ? "text/html;charset=UTF-8" : "application/json",
      },
      body: wantsPage ? page() : JSON.stringify({ title: config.title, message: config.message }),
    }
  },
} satisfies Plugin

function acceptsHtml(ctx: RequestContext): boolean {
  return ctx.headers.get("accept")?.includes("text/html") ?? false
}

function page(): string {
  const title = escapeHtml(config.title)
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>
  body { font: 1.1rem/1.5 system-ui, sans-serif; color-scheme: light dark; margin: 20vh auto; max-width: 32rem; padding: 0 1rem }
</style>
<h1>${title}</h1>
<p>${escapeHtml(config.message)}</p>
</html>
`
}

function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
}
