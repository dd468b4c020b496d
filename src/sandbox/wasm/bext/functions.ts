import type { AbiFunction } from "./abi-function.ts"
import { ERROR_FUNCTIONS } from "./error-functions.ts"
import { OUTSIDE_FUNCTIONS } from "./outside-functions.ts"
import { PLUGIN_FUNCTIONS } from "./plugin-functions.ts"
import { REQUEST_FUNCTIONS } from "./request-functions.ts"
import { STORAGE_FUNCTIONS } from "./storage-functions.ts"
import { WAITING_FUNCTIONS } from "./waiting-functions.ts"

/** The import module. A later version of the ABI has another one. */
export const BEXT_MODULE = "bext"

/** All functions of the ABI, by name. */
export const FUNCTIONS: ReadonlyMap<string, AbiFunction> = new Map(
  Object.entries({
    ...REQUEST_FUNCTIONS,
    ...PLUGIN_FUNCTIONS,
    ...STORAGE_FUNCTIONS,
    ...WAITING_FUNCTIONS,
    ...OUTSIDE_FUNCTIONS,
    ...ERROR_FUNCTIONS,
  }),
)
