/**
 * The name of a function as people know it, from the name section: `bext_plugin::host::text_of` for
 * `_ZN11bext_plugin4host7text_of17h415a9f27d2d64fb5E`. A name that is not mangled in that way stays as it is.
 * Source: Itanium C++ ABI §5.1.2 (nested names), which C++ uses, and Rust with a hash as the last part.
 */
export function readableName(name: string): string {
  if (!name.startsWith("_ZN")) return name
  const parts: string[] = []
  let at = 3
  for (;;) {
    const length = /^[1-9]\d{0,3}/.exec(name.slice(at, at + 4))?.[0]
    if (length === undefined) break
    at += length.length
    parts.push(name.slice(at, at + Number(length)))
    at += Number(length)
  }
  if (parts.length === 0 || name[at] !== "E") return name
  if (/^h[0-9a-f]{16}$/.test(parts.at(-1)!)) parts.pop()
  return parts.join("::")
}
