import type { ExternShape, ImportShape } from "../metering/module-shape.ts"
import { showName } from "./show-name.ts"

/**
 * The first import that an ABI does not have, for a message.
 * @param faultOf - What is wrong with one: "is of …". It may have any name.
 */
export function findImportFault(
  imports: readonly ImportShape[],
  faultOf: (entry: ImportShape) => string | undefined,
): string | undefined {
  for (const entry of imports) {
    const fault = faultOf(entry)
    if (fault !== undefined) return `import ${showName(`${entry.module}.${entry.name}`)} ${fault}`
  }
  return undefined
}

/** What is wrong with an export that has to be a function of that type; `name` is the ABI's. */
export function functionFault(name: string, shape: ExternShape | undefined, type: string): string | undefined {
  if (shape === undefined) return `the module does not export ${name}, a function ${type}`
  if (shape.kind !== "function") return `export ${name} is a ${shape.kind}, expected a function ${type}`
  return shape.type === type ? undefined : `export ${name} has the type ${shape.type}, expected ${type}`
}
