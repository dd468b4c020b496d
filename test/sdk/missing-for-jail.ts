import { BUBBLEWRAP, missing, PYTHON, type TestProgram } from "../support/programs.ts"

/** For `skip`: why programs cannot be run in a jail here, or false. Elsewhere than on Linux they run without bubblewrap. */
export function missingForJail(...programs: readonly TestProgram[]): string | false {
  return missing(...(process.platform === "linux" ? [BUBBLEWRAP] : []), ...programs)
}

export function missingForPython(): string | false {
  return missingForJail(PYTHON)
}
