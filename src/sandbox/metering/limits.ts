/**
 * What a guest's module may contain. V8 compiles a function when it is first called, on the caller's thread and out of
 * reach of fuel. What makes that slow is bounded before V8 sees it.
 */
export interface ModuleLimits {
  readonly moduleBytes: number
  /** Size with the code that counts. What V8 makes of a hundred megabytes takes gigabytes. */
  readonly meteredBytes: number
  /** Function types, and parameters or results of one. */
  readonly types: number
  readonly parameters: number
  readonly results: number
  readonly imports: number
  readonly functions: number
  readonly tables: number
  readonly globals: number
  readonly exports: number
  /** Element segments, and entries over all of them. */
  readonly elementSegments: number
  readonly elementEntries: number
  readonly dataSegments: number
  /** Size of one function, bytes. */
  readonly functionBytes: number
  /** Locals of one function, parameters included. */
  readonly locals: number
  /** Blocks, loops and ifs within each other. */
  readonly nesting: number
  /**
   * Values that the compiler has to look at where control flow splits, joins or leaves the function: summed over the blocks,
   * branches, calls, table and bulk instructions of a function, its locals and the operands on its stack there, and 4 for
   * each loop. A million takes V8 about 50 ms.
   */
  readonly functionJoinedValues: number
  /** The same, summed over all functions. */
  readonly joinedValues: number
}

export const DEFAULT_MODULE_LIMITS: ModuleLimits = {
  moduleBytes: 16 * 1024 * 1024,
  // Compilers' output grows by half; a module made of loops tenfold.
  meteredBytes: 32 * 1024 * 1024,
  types: 10_000,
  parameters: 100,
  results: 100,
  imports: 1_000,
  functions: 50_000,
  tables: 16,
  globals: 1_000,
  exports: 10_000,
  elementSegments: 10_000,
  elementEntries: 100_000,
  dataSegments: 100_000,
  functionBytes: 256 * 1024,
  locals: 1_000,
  nesting: 1_000,
  functionJoinedValues: 1_000_000,
  joinedValues: 10_000_000,
}
