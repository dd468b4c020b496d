/** Modules made by hand: of functions `() -> ()` whose bodies are given as bytes, declarations of locals included. */
export function moduleOfBodies(...bodies: (readonly number[])[]): Uint8Array<ArrayBuffer> {
  const code = [...leb(bodies.length)]
  for (const body of bodies) {
    code.push(...leb(body.length))
    for (const byte of body) code.push(byte)
  }
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 0, 0]),
    ...section(3, [...leb(bodies.length), ...bodies.map(() => 0)]),
    10,
    ...leb(code.length),
    ...code,
  ])
}

/** A body of `count` loops over a function's `locals`: what V8's baseline compiler is slowest at. */
export function loops(count: number, locals: number): number[] {
  return [1, ...leb(locals), 0x7f, ...repeat(count, [0x03, 0x40, 0x20, 0, 0x0d, 0, 0x0b]), 0x0b]
}

export function repeat(count: number, bytes: readonly number[]): number[] {
  return Array.from({ length: count }, () => bytes).flat()
}

export function section(id: number, contents: readonly number[]): number[] {
  return [id, ...leb(contents.length), ...contents]
}

export function leb(value: number): number[] {
  const bytes: number[] = []
  for (let rest = value; bytes.length === 0 || rest > 0; rest = Math.floor(rest / 128))
    bytes.push(rest >= 128 ? (rest % 128) | 0x80 : rest)
  return bytes
}
