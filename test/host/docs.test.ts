import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { describe, it } from "node:test"
import { parseConfig } from "../../src/config/parse-config.ts"
import { parseManifest } from "../../src/config/parse-manifest.ts"
import { effectivePermissions } from "../../src/host/permissions.ts"

const file = new URL("../../docs/host-services.md", import.meta.url).pathname

describe("docs/host-services.md", () => {
  it("shows a grant that gives the plugin beside it all it asks for", () => {
    const [asked, granted] = Array.from(
      readFileSync(file, "utf8").matchAll(/^```toml\n(.*?)^```/gms),
      ([, text]) => text!,
    )
    const manifest = parseManifest(`[manifest]\nname = "payments"\nversion = "1.0.0"\n${asked}`, { file })
    const { plugins } = parseConfig(granted!, { file, env: { STRIPE_KEY: "sk" } })
    const { grant, secrets } = plugins.payments!
    const grants = { ...grant, secrets: Object.keys(secrets) }
    const { permissions, missing } = effectivePermissions("payments", manifest.permissions, grants, {})
    assert.deepEqual(permissions, manifest.permissions)
    assert.equal(missing, null)
  })
})
