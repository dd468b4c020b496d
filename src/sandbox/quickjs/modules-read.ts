import { constants } from "node:fs"
import { type FileHandle, open, realpath } from "node:fs/promises"
import { isAbsolute, join, posix, relative, sep } from "node:path"
import { PluginError } from "../../errors.ts"
import type { GuestSource } from "../sandbox.ts"
import { candidates, EXTENSIONS, type Found, type Module } from "./modules-resolve.ts"
import { MAX_MAP_LENGTH, SourceMap } from "./modules-source-map.ts"
import { StripError, stripTypes } from "./modules-strip.ts"

/** Most files one plugin may consist of; bundle it if it has more. */
export const MAX_MODULES = 256
/** Largest single file, bytes. */
export const MAX_MODULE_BYTES = 2 * 1024 * 1024
/** All files of one plugin together, bytes. */
export const MAX_TOTAL_BYTES = 8 * 1024 * 1024
/** Strings that look like relative imports, in all files together: each costs several look-ups on disk. */
export const MAX_SPECIFIERS = 2_000
/** Milliseconds all files of one plugin may keep the TypeScript parser busy; other plugins wait for it. */
const MAX_STRIP_MS = 10_000

/**
 * Reads the entry and what it can reach, see `loadGuestModules`.
 * @param root - Real path of the plugin folder. Nothing outside it is read.
 * @throws {PluginError} `E_PLUGIN_LOAD_FAILED`.
 */
export async function readModules(
  plugin: string,
  root: string,
  entry: string,
  noteFile?: GuestSource["noteFile"],
): Promise<{ readonly entry: string; readonly found: Found }> {
  const reader = new ModuleReader(plugin, root, noteFile)
  return { entry: await reader.readAll(entry), found: reader.found }
}

class ModuleReader {
  readonly found: Found = new Map()
  readonly #plugin: string
  readonly #root: string
  readonly #noteFile: GuestSource["noteFile"]
  #count = 0
  #bytes = 0
  #specifiers = 0
  #stripMs = 0

  constructor(plugin: string, root: string, noteFile: GuestSource["noteFile"]) {
    this.#plugin = plugin
    this.#root = root
    this.#noteFile = noteFile
  }

  /** @returns The entry's name. */
  async readAll(entry: string): Promise<string> {
    const first = await this.#read(entry)
    if (first === null) throw this.#error(`the entry ${JSON.stringify(entry)} does not exist`)
    if (first instanceof PluginError) throw first
    this.found.set(first.name, first)
    const pending = [first]
    for (let module = pending.pop(); module !== undefined; module = pending.pop()) {
      for (const specifier of relativeSpecifiers(module.text)) {
        this.#checkEffort()
        const next = await this.#follow(module.name, specifier)
        if (next !== null) pending.push(next)
      }
    }
    return first.name
  }

  /** A plugin must not keep others from loading. Unlike a file that cannot be used, this is never forgiven. */
  #checkEffort(): void {
    this.#specifiers += 1
    if (this.#specifiers > MAX_SPECIFIERS) {
      throw this.#error(`more than ${MAX_SPECIFIERS} strings that look like imports ("./…"); bundle the plugin`)
    }
    if (this.#stripMs > MAX_STRIP_MS) {
      throw this.#error(`its TypeScript took more than ${MAX_STRIP_MS / 1000} s to parse; load JavaScript instead`)
    }
  }

  /** @returns A module that was not known before. */
  async #follow(importer: string, specifier: string): Promise<Module | null> {
    for (const path of candidates(importer, specifier)) {
      if (this.found.has(path)) return null
      const module = await this.#read(join(this.#root, path))
      if (module === null) continue
      const isNew = !(module instanceof PluginError || this.found.has(module.name))
      this.found.set(path, module)
      if (!isNew) return null
      this.found.set(module.name, module)
      return module
    }
    return null
  }

  /** @returns null when there is no such file. */
  async #read(path: string): Promise<Module | PluginError | null> {
    this.#noteFile?.(path)
    const real = await realpath(path).catch(() => null)
    if (real === null) return null
    const name = relative(this.#root, real).split(sep).join("/")
    if (name.startsWith("../") || name === ".." || isAbsolute(name)) {
      return this.#error(`${JSON.stringify(path)} leads outside the plugin folder; copy the file into it`)
    }
    const known = this.found.get(name)
    if (known !== undefined) return known
    try {
      const text = await this.#readText(real, name)
      return text === null ? null : await this.#toModule(name, text)
    } catch (error) {
      if (error instanceof PluginError) return error
      return this.#error(`${name}: cannot be read`, error)
    }
  }

  async #readText(path: string, name: string): Promise<string | null> {
    if (this.#count >= MAX_MODULES) throw this.#error(`more than ${MAX_MODULES} modules; bundle the plugin`)
    // Not blocking: opening a FIFO would otherwise wait for a writer.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const status = await file.stat()
    if (!status.isFile()) return null
    const room = Math.min(MAX_MODULE_BYTES, MAX_TOTAL_BYTES - this.#bytes)
    if (status.size > room)
      throw this.#error(`${name}: larger than ${room} bytes; a plugin may have ${MAX_TOTAL_BYTES}`)
    const bytes = await readAtMost(file, status.size)
    this.#count += 1
    this.#bytes += bytes.length
    return this.#decode(bytes, name)
  }

  #decode(bytes: Uint8Array, name: string): string {
    let text: string
    try {
      text = new TextDecoder("utf-8", { fatal: true }).decode(bytes)
    } catch (error) {
      throw this.#error(`${name}: not UTF-8`, error)
    }
    if (text.includes("\0")) throw this.#error(`${name}: contains a NUL character`)
    return text
  }

  async #toModule(name: string, text: string): Promise<Module> {
    const extension = posix.extname(name)
    if (extension === ".json") return { name, text: "", code: this.#toJsonModule(name, text), map: null }
    if (extension === ".ts" || extension === ".mts") {
      return { name, text, code: await this.#strip(name, text), map: null }
    }
    if (extension !== ".js" && extension !== ".mjs") {
      throw this.#error(`${name}: not a module; a plugin's files end in ${EXTENSIONS.join(", ")}`)
    }
    const { code, map } = splitSourceMap(text)
    return { name, text, code, map: map === null ? null : await this.#toSourceMap(name, map) }
  }

  /** `JSON.parse` at run time, because the key "__proto__" means something else in an object literal. */
  #toJsonModule(name: string, text: string): string {
    try {
      JSON.parse(text)
    } catch (error) {
      throw this.#error(`${name}: ${error instanceof Error ? error.message : "not JSON"}`, error)
    }
    return `export default JSON.parse(${JSON.stringify(text)})`
  }

  async #strip(name: string, text: string): Promise<string> {
    try {
      const { code, tookMs } = await stripTypes(text)
      this.#stripMs += tookMs
      return code
    } catch (error) {
      if (!(error instanceof StripError)) throw error
      this.#stripMs += error.tookMs
      const place = error.line === 0 ? name : `${name}:${error.line}:${error.column}`
      throw this.#error(`${place}: ${error.message}${stripHint(error.message)}`, error)
    }
  }

  /** Inline, or a file beside the module. Whatever is wrong with it, the plugin just has no source map. */
  async #toSourceMap(name: string, url: string): Promise<SourceMap | null> {
    const folder = posix.dirname(name)
    const inline = /^data:application\/json;(?:charset=utf-8;)?base64,/i.exec(url)
    if (inline !== null) {
      return SourceMap.parse(Buffer.from(url.slice(inline[0].length), "base64").toString(), folder)
    }
    if (!/^[^/\\:\0]{1,255}$/.test(url)) return null
    try {
      const path = await realpath(join(this.#root, folder, url))
      if (!path.startsWith(this.#root + sep)) return null
      await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
      const status = await file.stat()
      if (!status.isFile() || status.size > MAX_MAP_LENGTH) return null
      return SourceMap.parse(Buffer.from(await readAtMost(file, status.size)).toString(), folder)
    } catch {
      return null
    }
  }

  #error(what: string, cause?: unknown): PluginError {
    return new PluginError("E_PLUGIN_LOAD_FAILED", this.#plugin, what, { cause })
  }
}

function relativeSpecifiers(text: string): Set<string> {
  const found = new Set<string>()
  for (const match of text.matchAll(/(["'`])(\.\.?\/[^"'`\\\n]{1,500})\1/g)) found.add(match[2]!)
  return found
}

async function readAtMost(file: FileHandle, size: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(size)
  let length = 0
  while (length < size) {
    const { bytesRead } = await file.read(bytes, length, size - length, length)
    if (bytesRead === 0) break
    length += bytesRead
  }
  return bytes.subarray(0, length)
}

/** The comment that names a source map is the last line, and an inline one would only fill the guest's memory. */
function splitSourceMap(text: string): { code: string; map: string | null } {
  const mark = "\n//# sourceMappingURL="
  const at = text.lastIndexOf(mark)
  if (at === -1) return { code: text, map: null }
  const rest = text.slice(at + mark.length).trim()
  if (/\s/.test(rest)) return { code: text, map: null }
  return { code: text.slice(0, at + 1), map: rest }
}

function stripHint(message: string): string {
  if (!/not supported in (strip-only|type strip) mode/.test(message)) return ""
  if (message.includes("enum")) return "; types are stripped, not compiled: write a const object `as const` instead"
  return "; types are stripped, not compiled: write it in JavaScript"
}
