/* crypto.getRandomValues, crypto.randomUUID, performance.now */
;(need) => {
  const { codes, op } = need("$kit")
  const random = (size) => op(codes.random, size)
  return {
    crypto: {
      getRandomValues: (array) => need("$fillArray")(array, random),
      randomUUID: () => op(codes.randomUUID),
    },
    performance: { now: () => op(codes.now) },
  }
}
