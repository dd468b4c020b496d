import type { Plugin, ResponseContext } from "bext/plugin"

interface Config {
  readonly hsts_max_age: number
  readonly hsts_include_subdomains: boolean
  readonly hsts_preload: boolean
  readonly x_frame_options: string
  readonly x_content_type_options: boolean
  readonly referrer_policy: string
  readonly permissions_policy: string
  readonly content_security_policy: string
  readonly cross_origin_opener_policy: string
  readonly override: boolean
}

const config = bext.config as unknown as Config

const everywhere = (
  [
    ["x-frame-options", config.x_frame_options],
    ["x-content-type-options", config.x_content_type_options ? "nosniff" : ""],
    ["referrer-policy", config.referrer_policy],
    ["permissions-policy", config.permissions_policy],
    ["content-security-policy", config.content_security_policy],
    ["cross-origin-opener-policy", config.cross_origin_opener_policy],
  ] as const
).filter(([, value]) => value !== "")

const strictTransportSecurity = [
  `max-age=${config.hsts_max_age}`,
  ...(config.hsts_include_subdomains ? ["includeSubDomains"] : []),
  ...(config.hsts_preload ? ["preload"] : []),
].join("; ")

export default {
  onResponse(ctx) {
    for (const [name, value] of everywhere) protect(ctx, name, value)
    // Over plain HTTP the field must not be sent. Source: RFC 6797 §7.2.
    if (ctx.scheme === "https" && config.hsts_max_age > 0) {
      protect(ctx, "strict-transport-security", strictTransportSecurity)
    }
  },
} satisfies Plugin

function protect({ response }: ResponseContext, name: string, value: string): void {
  if (config.override || !response.headers.has(name)) response.setHeader(name, value)
}
