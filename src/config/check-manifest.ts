import type { Problem } from "./config-error.ts"
import { type Manifest, PROGRAM_FILE, PROGRAM_LIMITS } from "./manifest-schema.ts"

/** The rules of a manifest that need more than one field. */
export function checkManifest({ manifest, sandbox, transform }: Manifest): Problem[] {
  const problems: Problem[] = []
  if (sandbox.max_time_secs !== undefined && sandbox.max_time_ms !== undefined) {
    const what = "the same limit twice: max_time_secs is set as well"
    problems.push({ path: ["sandbox", "max_time_ms"], what, fixes: ["keep one of them"] })
  }
  if (sandbox.type === "nsjail" && manifest.entry === undefined) {
    const what = "missing: the nsjail tier has no default entry"
    problems.push({ path: ["manifest", "entry"], what, fixes: ['add to [manifest]: entry = "main.py"'] })
  }
  if (sandbox.type === "quickjs" && manifest.entry?.endsWith(".wasm")) {
    const what = 'a WebAssembly module runs in the wasm tier; type is "quickjs"'
    problems.push({ path: ["manifest", "entry"], what, fixes: ['add to [sandbox]: type = "wasm"'] })
  }
  if (sandbox.type !== "nsjail" && PROGRAM_FILE.test(manifest.entry ?? "")) {
    const what = `a program runs in the nsjail tier; type is "${sandbox.type}"`
    problems.push({ path: ["manifest", "entry"], what, fixes: ['add to [sandbox]: type = "nsjail"'] })
  }
  if (sandbox.type === "wasm" && /\.[cm]?[jt]sx?$/.test(manifest.entry ?? "")) {
    const what = 'JavaScript and TypeScript run in the quickjs tier; type is "wasm"'
    problems.push({ path: ["manifest", "entry"], what, fixes: ['write in [sandbox]: type = "quickjs"'] })
  }
  if (sandbox.type !== "nsjail") {
    for (const key of ["interpreter", "data_dir", ...PROGRAM_LIMITS] as const) {
      if (!sandbox[key]) continue
      problems.push({
        path: ["sandbox", key],
        what: `only the nsjail tier has this; type is "${sandbox.type}"`,
        at: "key",
      })
    }
  } else if (sandbox.data_quota_mb !== undefined && !sandbox.data_dir) {
    const what = "there is no folder to hold anything: data_dir is not set"
    problems.push({ path: ["sandbox", "data_quota_mb"], what, fixes: ["add data_dir = true"], at: "key" })
  }
  if (sandbox.body !== "none" && !manifest.capabilities.includes("middleware")) {
    const what = "only middleware sees bodies"
    problems.push({ path: ["sandbox", "body"], what, fixes: ['add "middleware" to manifest.capabilities'] })
  }
  if (manifest.security && sandbox.on_large_body === "skip") {
    const what = "a large body would step around a plugin with security = true"
    problems.push({ path: ["sandbox", "on_large_body"], what, fixes: ['write on_large_body = "fail"'] })
  }
  if (transform !== undefined && !manifest.capabilities.includes("transform")) {
    const what = 'manifest.capabilities does not name "transform"'
    problems.push({
      path: ["transform"],
      what,
      fixes: ['add "transform" to manifest.capabilities, or remove [transform]'],
    })
  }
  return problems
}
