/** "ENOENT" and the like; empty when the error did not come from the system. */
export function codeOf(error: unknown): string {
  return error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? "") : ""
}
