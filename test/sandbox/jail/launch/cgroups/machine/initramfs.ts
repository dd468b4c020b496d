import { execFileSync } from "node:child_process"
import { lstatSync, readdirSync, readFileSync, realpathSync } from "node:fs"
import { join, posix } from "node:path"

/**
 * The files that a Linux kernel starts with, as a cpio archive. /bin, /sbin, /lib and /lib64 are links into /usr.
 * Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst (newc).
 */
export class Initramfs {
  readonly #chunks: Uint8Array[] = []
  readonly #paths = new Set<string>(["/"])

  constructor() {
    for (const name of ["bin", "sbin", "lib", "lib64"]) {
      this.folder(`/usr/${name}`)
      this.#entry(`/${name}`, 0o120777, Buffer.from(`usr/${name}`))
    }
  }

  folder(path: string): void {
    if (this.#paths.has(path)) return
    this.folder(posix.dirname(path))
    this.#entry(path, 0o040755, new Uint8Array())
  }

  file(path: string, content: Uint8Array | string): void {
    const merged = /^\/(bin|sbin|lib|lib64)\//.test(path) ? `/usr${path}` : path
    if (this.#paths.has(merged)) return
    this.folder(posix.dirname(merged))
    this.#entry(merged, 0o100755, Buffer.from(content))
  }

  /** A program of this machine, with the libraries it loads. */
  program(path: string): void {
    const libraries = execFileSync("ldd", [path], { encoding: "utf8" }).match(/\/\S+/g) ?? []
    for (const file of [path, ...libraries]) this.file(file, readFileSync(realpathSync(file)))
  }

  /** A folder of this machine with every TypeScript file in it. */
  sources(folder: string): void {
    for (const name of readdirSync(folder)) {
      const path = join(folder, name)
      if (lstatSync(path).isDirectory()) this.sources(path)
      else if (name.endsWith(".ts")) this.file(path, readFileSync(path))
    }
  }

  toBytes(): Uint8Array {
    this.#entry("/TRAILER!!!", 0, new Uint8Array())
    return Buffer.concat(this.#chunks)
  }

  #entry(path: string, mode: number, content: Uint8Array): void {
    this.#paths.add(path)
    const name = Buffer.from(`${path.slice(1)}\0`)
    // Inode, mode, uid, gid, links, time, size, device, device of a device, length of the name, no checksum.
    const fields = [this.#paths.size, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length, 0]
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`
    this.#chunks.push(Buffer.from(header), name, padding(110 + name.length), content, padding(content.length))
  }
}

function padding(length: number): Uint8Array {
  return new Uint8Array((4 - (length % 4)) % 4)
}
