const TIMEOUT_MS = 5_000
const MAX_BYTES = 256 * 1024

/**
 * Fetches the JSON text of a key set. The URL is the operator's, the answer is not trusted with more than a bounded time
 * and size; a redirect is refused, as it would let that server choose another one to trust.
 */
export async function fetchKeySet(url: string): Promise<string> {
  const response = await fetch(url, {
    redirect: "error",
    headers: { accept: "application/jwk-set+json, application/json" },
    signal: AbortSignal.timeout(TIMEOUT_MS),
  })
  if (response.status !== 200) {
    await response.body?.cancel()
    throw new Error(`status ${response.status}`)
  }
  let text = ""
  let bytes = 0
  const decoder = new TextDecoder()
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength
    if (bytes > MAX_BYTES) throw new Error(`more than ${MAX_BYTES} bytes`)
    text += decoder.decode(chunk, { stream: true })
  }
  return text + decoder.decode()
}
