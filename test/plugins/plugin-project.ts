import { chmodSync, mkdtempSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, type TestContext } from "node:test"
import { parseConfig } from "../../src/config/parse-config.ts"
import { createTiers } from "../../src/create-tiers.ts"
import { BextError } from "../../src/errors.ts"
import { createHost } from "../../src/host/create-host.ts"
import { BodyBudget } from "../../src/http/body-budget.ts"
import { HeaderList } from "../../src/message/header-list.ts"
import type { RequestContext, ResponseState } from "../../src/message/request-context.ts"
import { Pipeline } from "../../src/pipeline/pipeline.ts"
import { Stack } from "../../src/pipeline/stack.ts"
import { type LoadPluginsOptions, loadPlugins } from "../../src/plugins/load-plugins.ts"
import type { LoadedPlugin } from "../../src/plugins/loaded-plugin.ts"
import type { PluginSet } from "../../src/plugins/plugin-set.ts"
import { openLmdbStore } from "../../src/state/lmdb-store.ts"
import { type LogLine, recordingLogger } from "./recording-logger.ts"
import { type ContextInput, requestContext, response } from "./request-context.ts"
import { type Files, writeFiles } from "./write-files.ts"

export interface Project {
  readonly folder: string
  /** What it was loaded with. */
  readonly loading: LoadPluginsOptions
  readonly set: PluginSet
  /** What was logged so far. */
  readonly lines: LogLine[]
  readonly bodies: BodyBudget
  plugin(name: string): LoadedPlugin
  /** One request through the plugins and, where none answers, the app. */
  request(input?: ContextInput): Promise<RequestContext & { response: ResponseState }>
}

export interface ProjectOptions extends Partial<Pick<LoadPluginsOptions, "grantLocalFolders" | "tiers">> {
  readonly env?: Readonly<Record<string, string>>
  /** What the app answers. */
  readonly app?: () => ResponseState
  /** Default true. */
  readonly start?: boolean
}

const tiers = createTiers()
after(() => tiers[Symbol.asyncDispose]())

/**
 * Writes a project with plugins to disk and loads it: bext.config.toml among `files`, everything real but the network. In it
 * "{folder}" stands for the project's folder.
 */
export async function loadProject(t: TestContext, files: Files, options: ProjectOptions = {}): Promise<Project> {
  const parts = new AsyncDisposableStack()
  t.after(() => parts.disposeAsync())
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "bext-plugins-")))
  // Programs run as another user.
  chmodSync(folder, 0o755)
  parts.defer(() => rmSync(folder, { recursive: true }))
  writeFiles(folder, files)
  const { logger, lines } = recordingLogger()
  const state = parts.use(openLmdbStore({ dir: join(folder, ".bext"), log: logger }))
  const host = parts.use(createHost({ state, log: logger, isOwnListener: () => false, allowPrivate: [] }))
  const file = join(folder, "bext.config.toml")
  const bodies = new BodyBudget(16 * 1024 * 1024)
  const text = (files["bext.config.toml"] as string).replaceAll("{folder}", folder)
  const loading: LoadPluginsOptions = {
    config: parseConfig(text, { file, env: options.env ?? {} }),
    configDir: folder,
    tiers: options.tiers ?? tiers,
    host,
    logger,
    role: { leader: true },
    quarantines: { attach: () => () => {} },
    bodies,
    grantLocalFolders: options.grantLocalFolders ?? false,
  }
  const set = parts.use(await loadPlugins(loading))
  if (options.start !== false) await set.start()
  const pipeline = new Pipeline({
    stack: new Stack(set.plugins),
    authorise: () => {},
    handler: { handle: options.app ?? (() => response("page")) },
    wantsTimings: () => false,
    toErrorResponse: (error) => ({
      status: error instanceof BextError ? error.status : 500,
      headers: HeaderList.empty(),
      body: error instanceof BextError ? error.code : String(error),
    }),
  })
  return {
    folder,
    loading,
    set,
    lines,
    bodies,
    plugin: (name) => set.plugins.find((plugin) => plugin.name === name)!,
    async request(input) {
      const context = requestContext(input)
      await pipeline.respond(context)
      return context as RequestContext & { response: ResponseState }
    },
  }
}

/** The files of one middleware plugin in `plugins/NAME`. */
export function middleware(name: string, source: string, more = "", capabilities = '"middleware"'): Files {
  const manifest = `[manifest]\nname = "${name}"\nversion = "1.0.0"\ncapabilities = [${capabilities}]\n${more}\n`
  return { [`plugins/${name}/plugin.toml`]: manifest, [`plugins/${name}/index.js`]: source }
}
