import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import type { GuestServices } from "../../../../src/host/services.ts"
import { GuestExchange } from "../../../../src/plugins/guest-exchange.ts"
import { HeaderAccess } from "../../../../src/plugins/header-access.ts"
import { createQuickjsTier } from "../../../../src/sandbox/quickjs/tier.ts"
import type { Sandbox, SandboxTier } from "../../../../src/sandbox/sandbox.ts"
import { requestContext, textOf } from "../../../plugins/request-context.ts"

let tier: Promise<SandboxTier> | undefined

/** A guest in the real tier, ready, without services. The first file is the entry. */
export async function loadGuest(files: Readonly<Record<string, string>>): Promise<Sandbox> {
  tier ??= createQuickjsTier()
  const folder = await mkdtemp(join(tmpdir(), "bext-guest-"))
  try {
    for (const [name, text] of Object.entries(files)) {
      await mkdir(dirname(join(folder, name)), { recursive: true })
      await writeFile(join(folder, name), text)
    }
    const limits = { memoryBytes: 64 * 1024 * 1024, messageBytes: 8 * 1024 * 1024, maxInstances: 1 }
    const source = { name: "sample", folder, entry: join(folder, Object.keys(files)[0]!) }
    const sandbox = await (await tier).load(source, services, limits, "shared")
    await sandbox.ready(null)
    return sandbox
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** The body of what `onRequest` answers to `GET /?query`, "" when it goes on. */
export async function answerOf(guest: Sandbox, query = "", cpuMs = 20_000): Promise<string> {
  const context = requestContext({ query })
  const exchange = new GuestExchange(access, context, "request", null)
  await guest.call({
    hook: "on_request",
    exchange,
    params: [],
    tenant: null,
    limits: { cpuMs, wallMs: 60_000, fuel: 0 },
    leader: true,
    signal: null,
  })
  exchange.commit()
  return textOf(context.response?.body ?? null)
}

const permissions = {
  sensitive_headers: [],
  set_cookies: [],
  identity: false,
  rewrite_path: false,
  rewrite_method: false,
}
const access = {
  plugin: "sample",
  headers: new HeaderAccess("sample", permissions, [], () => {}),
  permissions,
  body: "none",
  maxBodyBytes: 0,
  maxAnswerBytes: 8 * 1024 * 1024,
} as const

function unused(): never {
  throw new Error("these guests ask for no service")
}

const services: GuestServices = {
  config: {},
  granted: () => false,
  storage: unused,
  fetch: unused,
  push: unused,
  secret: unused,
  metric: unused,
  log: unused,
}
