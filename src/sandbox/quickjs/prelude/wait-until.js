/* ctx.waitUntil */
;(need) => {
  const { codes, op } = need("$kit")

  async function settle(id, promise) {
    try {
      await promise
    } catch (error) {
      need("$report")("waitUntil", error)
    }
    op(codes.waitEnd, id)
  }

  return {
    $waitUntil(id, promise) {
      op(codes.waitBegin, id)
      settle(id, promise)
    },
  }
}
