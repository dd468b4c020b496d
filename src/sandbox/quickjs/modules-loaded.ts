import { fromPlainError, PluginError, toPlainError } from "../../errors.ts"
import type { GuestModules, ModulesData } from "./modules.ts"
import { candidates, EXTENSIONS, type Found } from "./modules-resolve.ts"
import { SourceMap } from "./modules-source-map.ts"

/** Holds types only, so at run time it is empty. */
const API_MODULE = "bext/plugin"
/** Of a stack trace that is mapped, UTF-16 units. */
const MAX_STACK_LENGTH = 16 * 1024

/** The look-ups of `GuestModules` in what was read. */
export class LoadedModules implements GuestModules {
  readonly entry: string
  readonly #plugin: string
  readonly #found: Found

  constructor(plugin: string, entry: string, found: Found) {
    this.#plugin = plugin
    this.entry = entry
    this.#found = found
  }

  static fromData(plugin: string, { entry, found }: ModulesData): LoadedModules {
    const modules: Found = new Map()
    for (const [path, module] of found) {
      if ("error" in module) modules.set(path, fromPlainError(module.error, plugin))
      else modules.set(path, { ...module, map: module.map && SourceMap.fromData(module.map) })
    }
    return new LoadedModules(plugin, entry, modules)
  }

  toData(): ModulesData {
    const found = Array.from(this.#found, ([path, module]): ModulesData["found"][number] => [
      path,
      module instanceof PluginError
        ? { error: toPlainError(module) }
        : { name: module.name, text: module.text, code: module.code, map: module.map?.toData() ?? null },
    ])
    return { entry: this.entry, found }
  }

  resolve(importer: string, specifier: string): string {
    if (specifier === API_MODULE) return API_MODULE
    for (const path of candidates(importer, specifier)) {
      const module = this.#found.get(path)
      if (module instanceof PluginError) throw module
      if (module !== undefined) return module.name
    }
    const place = this.#placeOf(importer, specifier)
    const shown = JSON.stringify(specifier.slice(0, 200))
    throw new PluginError(
      "E_PLUGIN_LOAD_FAILED",
      this.#plugin,
      `${place}: cannot import ${shown}: ${reason(specifier)}`,
    )
  }

  load(name: string): string {
    if (name === API_MODULE) return "export {}"
    const module = this.#found.get(name)
    if (module === undefined) {
      throw new PluginError("E_PLUGIN_LOAD_FAILED", this.#plugin, `no module ${JSON.stringify(name.slice(0, 200))}`)
    }
    if (module instanceof PluginError) throw module
    return module.code
  }

  mentions(word: string): boolean {
    const whole = new RegExp(`(?<![\\w$])${word.replaceAll("$", "\\$")}(?![\\w$])`)
    for (const module of this.#found.values()) {
      if (!(module instanceof PluginError) && whole.test(module.code)) return true
    }
    return false
  }

  mapStack(stack: string): string {
    const lines = stack.slice(0, MAX_STACK_LENGTH).split("\n")
    return lines.map((line) => this.#mapFrame(line)).join("\n")
  }

  /** A frame is "at function (name:line:column)" or "at name:line:column". */
  #mapFrame(frame: string): string {
    const place = /:(\d{1,7}):(\d{1,7})\)?$/.exec(frame)
    if (place === null) return frame
    const start = Math.max(frame.lastIndexOf("(", place.index) + 1, frame.lastIndexOf("at ", place.index) + 3)
    const module = this.#found.get(frame.slice(start, place.index))
    if (module === undefined || module instanceof PluginError || module.map === null) return frame
    const original = module.map.original(Number(place[1]), Number(place[2]))
    if (original === null) return frame
    const end = frame.endsWith(")") ? ")" : ""
    return `${frame.slice(0, start)}${original.source}:${original.line}:${original.column}${end}`
  }

  #placeOf(importer: string, specifier: string): string {
    const module = this.#found.get(importer)
    if (module === undefined || module instanceof PluginError) return importer
    const quoted = [`"${specifier}"`, `'${specifier}'`]
    const at = Math.min(...quoted.map((text) => module.text.indexOf(text)).filter((index) => index !== -1))
    if (at === Number.POSITIVE_INFINITY) return importer
    const before = module.text.slice(0, at)
    const line = before.split("\n").length
    return `${importer}:${line}:${at - before.lastIndexOf("\n")}`
  }
}

function reason(specifier: string): string {
  if (/^\.\.?\//.test(specifier)) {
    return `no such file inside the plugin (tried as written, with ${EXTENSIONS.join(", ")}, and as a folder's index)`
  }
  if (specifier.startsWith("/") || /^[a-z][a-z0-9+.-]*:/i.test(specifier)) {
    return "only relative paths inside the plugin can be imported; Node's modules do not exist in the sandbox"
  }
  return `packages are not resolved at run time; bundle the plugin, or write "./${specifier}" for a file of its own`
}
