import { z } from "zod"
import type { Path } from "./toml-positions.ts"

/** The schema without optional, default, prefault and transform around it: what the operator writes. */
export function written(schema: unknown): unknown {
  let inner = schema
  for (;;) {
    if (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) {
      inner = inner.def.innerType
    } else if (inner instanceof z.ZodPipe) inner = inner.def.in
    else return inner
  }
}

/** The alternatives of a schema: the options of a union, otherwise the schema itself. */
export function alternatives(schema: unknown): unknown[] {
  const inner = written(schema)
  return inner instanceof z.ZodUnion ? inner.options.flatMap(alternatives) : [inner]
}

/** The keys a table may have; undefined when it is not a table with fixed keys. */
export function keysOf(schema: unknown): string[] | undefined {
  const keys = alternatives(schema).flatMap((option) => {
    if (option instanceof z.ZodObject) return Object.keys(option.shape)
    return option instanceof z.ZodRecord && option.keyType instanceof z.ZodEnum
      ? option.keyType.options.map(String)
      : []
  })
  return keys.length === 0 ? undefined : keys
}

/** The schema of a table's field or of an array's element. */
export function childSchema(schema: unknown, step: string | number): unknown {
  for (const option of alternatives(schema)) {
    if (option instanceof z.ZodObject && Object.hasOwn(option.shape, step)) return option.shape[step]
    if (option instanceof z.ZodRecord) return option.valueType
    if (option instanceof z.ZodArray) return option.element
  }
  return undefined
}

/** The schema of the field at `path`. */
export function schemaAt(schema: unknown, path: Path): unknown {
  return path.reduce(childSchema, schema)
}

/** What a field is besides its type: see `filePath`, `secret` and `adminListen` in field-types. */
export function kindOf(schema: unknown): "path" | "secret" | "socket" | undefined {
  const inner = written(schema)
  const kind = inner instanceof z.ZodType ? inner.meta()?.kind : undefined
  return kind === "path" || kind === "secret" || kind === "socket" ? kind : undefined
}
