import type { Permissions } from "../config/manifest-schema.ts"
import { printable } from "../config/printable.ts"

/** What a plugin may do with these permissions, for the person who decides; one line each. */
export function describePermissions(permissions: Readonly<Partial<Permissions>>): string[] {
  const { allowed_urls, max_fetch_per_minute, queues, secrets, sensitive_headers, set_cookies } = permissions
  const often = max_fetch_per_minute === undefined ? "" : `, at most ${max_fetch_per_minute} times a minute`
  const lines = [
    ...list(allowed_urls, (urls) => `send requests to ${urls}${often}`),
    ...list(secrets, (names) => `read the secrets ${names}, to which you give values`),
    ...list(sensitive_headers, (names) => `see and set the headers ${names}, which may hold visitors' credentials`),
    ...list(set_cookies, (names) => `set the cookies ${names}`),
    ...list(queues, (names) => `use the queues ${names}`),
    ...(permissions.identity ? ["decide who the user and the tenant of a request are"] : []),
    ...(permissions.rewrite_path
      ? ["change the path and the query of a request, and with them what the app is asked for"]
      : []),
    ...(permissions.rewrite_method
      ? ["change the method of a request: what only asks for a page can become what changes something"]
      : []),
    ...(permissions.purge ? ["purge the page cache"] : []),
  ]
  return lines.map(printable)
}

function list(items: readonly string[] | undefined, describe: (items: string) => string): string[] {
  return items === undefined || items.length === 0 ? [] : [describe(items.join(", "))]
}
