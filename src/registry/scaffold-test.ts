/**
 * The test of a new plugin that greets.
 * @param request - Arguments of `plugin.request`, as code: a greeting is asked for.
 * @param greeting - The text that is answered.
 */
export function scaffoldTest(request: string, greeting: string): string {
  return `import assert from "node:assert/strict"
import { test } from "node:test"
import { loadPlugin } from "bext/testing"

const FOLDER = new URL("..", import.meta.url)

test("greets", async () => {
  await using plugin = await loadPlugin(FOLDER)
  const response = await plugin.request(${request})
  assert.equal(response.status, 200)
  assert.equal(await response.text(), "${greeting}")
})

test("leaves other requests to the app", async () => {
  await using plugin = await loadPlugin(FOLDER, { app: () => new Response("from the app") })
  const response = await plugin.request("/")
  assert.equal(await response.text(), "from the app")
  assert.equal(response.headers.get("x-greeted"), "yes")
})
`
}
