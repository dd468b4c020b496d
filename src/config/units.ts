import { z } from "zod"

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const UNIT_BYTES = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 } as const

/** A time such as "250ms", "10s", "1m", "2h" or "7d"; becomes milliseconds. */
export const duration = () =>
  z
    .string()
    .regex(/^\d{1,9}(ms|s|m|h|d)$/, 'expected a duration such as "250ms", "10s", "1m", "2h" or "7d"')
    .transform((text) => {
      const unit = /[a-z]+$/.exec(text)![0] as keyof typeof UNIT_MS
      return Number.parseInt(text, 10) * UNIT_MS[unit]
    })

/** A size such as "512b", "64kb", "10mb" or "1gb" (powers of 1024); becomes bytes. */
export const size = () =>
  z
    .string()
    .regex(/^\d{1,9}(b|kb|mb|gb)$/, 'expected a size such as "64kb", "10mb" or "1gb"')
    .transform((text) => {
      const unit = /[a-z]+$/.exec(text)![0] as keyof typeof UNIT_BYTES
      return Number.parseInt(text, 10) * UNIT_BYTES[unit]
    })
