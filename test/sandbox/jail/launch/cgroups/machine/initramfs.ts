import { lstatSync, readdirSync, readFileSync, realpathSync } from "node:fs"
import { join, posix } from "node:path"

/**
 * The files that a Linux kernel starts with, as a cpio archive.
 * Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst (newc).
 */
export class Initramfs {
  readonly #chunks: Uint8Array[] = []
  readonly #folders = new Set<string>()
  #inode = 0

  folder(path: string): void {
    if (path === "/" || this.#folders.has(path)) return
    this.folder(posix.dirname(path))
    this.#folders.add(path)
    this.#entry(path, 0o040755, new Uint8Array())
  }

  file(path: string, content: Uint8Array): void {
    this.folder(posix.dirname(path))
    this.#entry(path, 0o100755, content)
  }

  link(path: string, target: string): void {
    this.folder(posix.dirname(path))
    this.#entry(path, 0o120777, Buffer.from(target))
  }

  /** A file of this machine, at the same path or another. Links are followed. */
  copy(source: string, path = source): void {
    this.file(path, readFileSync(realpathSync(source)))
  }

  /** A folder with everything in it, at the same path. */
  copyTree(folder: string, suits: (name: string) => boolean): void {
    for (const name of readdirSync(folder)) {
      const path = join(folder, name)
      if (lstatSync(path).isDirectory()) this.copyTree(path, suits)
      else if (suits(name)) this.copy(path)
    }
  }

  toBytes(): Uint8Array {
    this.#entry("/TRAILER!!!", 0, new Uint8Array())
    return Buffer.concat(this.#chunks)
  }

  #entry(path: string, mode: number, content: Uint8Array): void {
    const name = Buffer.from(`${path.slice(1)}\0`)
    const fields = [++this.#inode, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length, 0]
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`
    this.#chunks.push(Buffer.from(header), name, padding(110 + name.length), content, padding(content.length))
  }
}

function padding(length: number): Uint8Array {
  return new Uint8Array((4 - (length % 4)) % 4)
}
