import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { describe, it } from "node:test"
import { parseConfig } from "../../src/config/parse-config.ts"
import { createAuth } from "../../src/middleware/auth.ts"
import { createAuthorisationGate } from "../../src/middleware/authorisation-gate.ts"
import { createCors } from "../../src/middleware/cors.ts"
import { createRateLimits } from "../../src/middleware/rate-limit.ts"
import { createTenantResolver } from "../../src/middleware/tenant.ts"

const file = new URL("../../docs/middleware.md", import.meta.url).pathname

describe("docs/middleware.md", () => {
  it("shows one configuration that loads and starts every middleware", () => {
    const examples = Array.from(readFileSync(file, "utf8").matchAll(/^```toml\n(.*?)^```/gms), (match) => match[1])
    assert.equal(examples.length, 5)
    const { middleware, tenants } = parseConfig(examples.join("\n"), { file, env: {} })
    createCors(middleware.cors!)
    createRateLimits(middleware.rate_limit!)
    createAuth(middleware.auth!, { warn: assert.fail })
    createAuthorisationGate(middleware.auth!)
    createTenantResolver(middleware.tenant!, { tenants })
    assert.equal(middleware.tracing.server_timing, "loopback")
  })
})
