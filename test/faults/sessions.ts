import assert from "node:assert/strict"

/** Logs in as ada at the app with a login form. @returns The cookie of the session. */
export async function logIn(url: string): Promise<string> {
  const { headers, status } = await post(`${url}/login`, "", "name=ada")
  assert.equal(status, 303)
  return String(headers["set-cookie"]).split(";")[0]!
}

export function logOut(url: string, cookie: string): Promise<{ status: number; body: string }> {
  return post(`${url}/logout`, cookie)
}

/** The user that the app is told of; null for nobody. */
export async function whoAmI(url: string, cookie: string): Promise<string | null> {
  const response = await fetch(`${url}/whoami`, { headers: { cookie, connection: "close" } })
  const { user } = (await response.json()) as { user: { id: string } | null }
  return user === null ? null : user.id
}

async function post(url: string, cookie: string, body = "") {
  // A connection of its own: one that is kept may end for being idle just then.
  const type = "application/x-www-form-urlencoded"
  const headers = { cookie, accept: "application/json", connection: "close", "content-type": type }
  const response = await fetch(url, { method: "POST", headers, body, redirect: "manual" })
  return { status: response.status, headers: Object.fromEntries(response.headers), body: await response.text() }
}
