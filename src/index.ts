/**
 * bext as a library:
 * ```ts
 * import { createConfig, createServer } from "bext"
 *
 * const folder = process.cwd()
 * const config = createConfig({ app: { static: "public" } }, { folder, env: process.env })
 * const server = await createServer(config, { folder })
 * console.log((await server.listen()).url)
 *
 * // Another configuration, without losing a request:
 * const next = createConfig({ app: { static: "dist" } }, { folder, env: process.env })
 * ;(await server.prepare(next)).commit()
 * ```
 */
export { loadConfig } from "./config/load-config.ts"
export { createConfig } from "./config/parse-config.ts"
export type { Config } from "./config/schema.ts"
export { createServer, type ServerOptions } from "./create-server.ts"
export { BextError, ERRORS, type ErrorCode, PluginError } from "./errors.ts"
export type { PreparedSnapshot, ServerProcess } from "./processes/server-process.ts"
