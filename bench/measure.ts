/** Median of the samples; the mean of the middle two for an even count. */
export function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/**
 * Runs every case once per round, so that all of them meet the same noise.
 * @param cases - Name → one measurement.
 * @returns Name → the samples of the rounds after `warmUp`.
 */
export async function interleave<Name extends string>(
  cases: Record<Name, () => number | Promise<number>>,
  { rounds, warmUp }: { rounds: number; warmUp: number },
): Promise<Record<Name, number[]>> {
  const names = Object.keys(cases) as Name[]
  const samples = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>
  for (let round = 0; round < warmUp + rounds; round++) {
    for (const name of names) {
      const sample = await cases[name]()
      if (round >= warmUp) samples[name].push(sample)
    }
  }
  return samples
}

/** Median over the rounds of a[i] / b[i]. */
export function medianRatio(a: readonly number[], b: readonly number[]): number {
  return median(a.map((sample, index) => sample / b[index]!))
}

/** Microseconds per call of `action`, `times` calls in a row. */
export function microseconds(times: number, action: () => void): number {
  const startedAt = performance.now()
  for (let i = 0; i < times; i++) action()
  return ((performance.now() - startedAt) * 1000) / times
}
