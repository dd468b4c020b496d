/**
 * The candidate somebody probably meant: the same word in another spelling (`CacheBackend` for `cache_backend`,
 * `max-memory-mb` for `max_memory_mb`), otherwise the one at the smallest edit distance.
 * @returns undefined when nothing is near enough: a wild guess is worse than the list of allowed words.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > 64) return undefined
  const plain = letters(word)
  let best: string | undefined
  let bestDistance = allowedDistance(plain) + 1
  for (const candidate of candidates) {
    const other = letters(candidate)
    if (other === plain) return candidate
    const distance = editDistance(plain, other)
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** Spelling without case, hyphens and underscores. */
function letters(word: string): string {
  return word.toLowerCase().replace(/[-_ ]/g, "")
}

/** One typo in a short word, up to three in a long one. */
function allowedDistance(word: string): number {
  return word.length < 3 ? 0 : word.length < 6 ? 1 : word.length < 10 ? 2 : 3
}

/** Damerau-Levenshtein distance (optimal string alignment): a swap of two neighbours counts once. */
function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let cost = Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, beforePrevious[j - 2]! + 1)
      }
      row.push(cost)
    }
    beforePrevious = previous
    previous = row
  }
  return previous[b.length]!
}
