import { existsSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { ConfigError, shortName } from "../config/config-error.ts"
import { parseListenAddress } from "../config/listen-address.ts"
import { createConfig } from "../config/parse-config.ts"
import { readText } from "../config/read-text.ts"
import { readToml } from "../config/read-toml.ts"
import type { Config } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import { FILE } from "./init.ts"
import { type Parsed, usageError } from "./parse-options.ts"
import { LENIENT_ENV, readConfig } from "./read-config.ts"

/** Where a running server takes commands. */
export interface AdminTarget {
  readonly where: { readonly socketPath: string } | { readonly url: URL }
  readonly token: string | undefined
  /** For messages: the configuration it was found by. */
  readonly from: string | undefined
}

/**
 * Finds the admin listener that a command is for: `--admin`, otherwise that of the configuration, otherwise the default
 * socket of this folder, where a server without a configuration has it.
 * @throws {BextError} `E_USAGE`, `E_CONFIG_NOT_FOUND`, `E_ADMIN_UNREACHABLE`: the configuration switches it off.
 */
export function findAdminTarget(command: string, { options }: Parsed): AdminTarget {
  const url = options.get("admin")
  const named = options.get("config")
  if (url !== undefined && named !== undefined) throw usageError(command, "--admin and --config do not go together")
  if (url !== undefined) return fromUrl(command, String(url))
  const file = resolve(String(named ?? FILE))
  if (named === undefined && !existsSync(file)) {
    return { where: { socketPath: join(dirname(file), DEFAULT_SOCKET) }, token: undefined, from: undefined }
  }
  return fromConfig(readAdmin(file), file)
}

const DEFAULT_SOCKET = ".bext/admin.sock"
const UNIX = "unix:"

function fromUrl(command: string, text: string): AdminTarget {
  const token = process.env.BEXT_ADMIN_TOKEN || undefined
  if (text.startsWith(UNIX) && text.length > UNIX.length) {
    return { where: { socketPath: resolve(text.slice(UNIX.length)) }, token, from: undefined }
  }
  const url = URL.parse(text)
  const isPlain = url !== null && /^https?:$/.test(url.protocol) && url.pathname === "/" && url.search + url.hash === ""
  if (!isPlain) {
    const isBare = parseListenAddress(text) !== undefined
    const hint = isBare
      ? `did you mean --admin http://${text}?`
      : "write --admin http://ADDRESS:PORT or --admin unix:PATH"
    throw usageError(command, "--admin needs a URL without a path", hint)
  }
  if (url.username + url.password !== "") {
    throw usageError(command, "--admin takes no token: others see command lines", "put it in BEXT_ADMIN_TOKEN")
  }
  return { where: { url }, token, from: undefined }
}

/** With mistakes elsewhere in the file too: that is when one wants to know how the server is. */
function readAdmin(file: string): Config["admin"] {
  const text = readText(file, "E_CONFIG_NOT_FOUND")
  try {
    return readConfig(text, file).admin
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const { admin, note } = adminAlone(text, file)
    process.stderr.write(`warning: ${shortName(file)} has mistakes (bext check shows them)${note}\n`)
    return admin
  }
}

function adminAlone(text: string, file: string): { admin: Config["admin"]; note: string } {
  const options = { folder: dirname(file), env: LENIENT_ENV }
  try {
    const { admin } = readToml({ file, text }, "E_CONFIG_INVALID") as { admin?: object }
    return { admin: createConfig(admin === undefined ? {} : { admin }, options).admin, note: "" }
  } catch {
    return { admin: createConfig({}, options).admin, note: "; looking for the server at its default socket" }
  }
}

function fromConfig({ listen, token }: Config["admin"], file: string): AdminTarget {
  if (listen === "off") {
    throw new BextError("E_ADMIN_UNREACHABLE", `${shortName(file)} switches the admin listener off (admin.listen)`)
  }
  const secret = process.env.BEXT_ADMIN_TOKEN || (token && process.env[token.variable]) || undefined
  if (listen.startsWith(UNIX)) return { where: { socketPath: listen.slice(UNIX.length) }, token: secret, from: file }
  const { host, port } = parseListenAddress(listen)!
  if (port === 0) {
    const what = "admin.listen has port 0, so that only the server's log knows the port"
    throw new BextError("E_ADMIN_UNREACHABLE", `${what}\nname it with --admin http://ADDRESS:PORT`)
  }
  return { where: { url: new URL(`http://${toHost(host)}:${port}`) }, token: secret, from: file }
}

/** Every address includes loopback. */
function toHost(host: string | undefined): string {
  if (host === undefined || host === "0.0.0.0") return "127.0.0.1"
  if (host === "::") return "[::1]"
  return host.includes(":") ? `[${host}]` : host
}
