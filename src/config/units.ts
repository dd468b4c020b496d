import type { Complaint } from "./checked.ts"
import { text } from "./checked.ts"

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const UNIT_BYTES = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 } as const

/** Longest time a timer of Node takes: 2^31 - 1 ms, about 24.8 days. */
export const MAX_TIMER_MS = 2 ** 31 - 1

/** A time such as "250ms", "10s", "1m", "2h" or "7d"; becomes milliseconds, at least 1. */
export const duration = () =>
  text(
    "10s",
    (value) => {
      const expected = 'expected a duration such as "250ms", "10s", "1m", "2h" or "7d"'
      return checkUnit(value, UNIT_MS, expected, MAX_TIMER_MS, "24d")
    },
    /^\d{1,12}(ms|s|m|h|d)$/,
  ).transform((value) => inUnits(value, UNIT_MS)!)

/** A size such as "512b", "64kb", "10mb" or "1gb" (powers of 1024); becomes bytes. */
export const size = () =>
  text(
    "64kb",
    (value) => {
      const expected = 'expected a size such as "512b", "64kb", "10mb" or "1gb"'
      return checkUnit(value, UNIT_BYTES, expected, 1024 * UNIT_BYTES.gb, "1024gb")
    },
    /^\d{1,12}(b|kb|mb|gb)$/,
  ).transform((value) => inUnits(value, UNIT_BYTES)!)

type Units = Readonly<Record<string, number>>

function checkUnit(
  value: string,
  units: Units,
  expected: string,
  most: number,
  mostText: string,
): Complaint | undefined {
  const amount = inUnits(value, units)
  if (amount === undefined) return { what: expected, fix: respell(value, units) }
  if (amount < 1) return { what: "expected more than nothing" }
  return amount > most ? { what: `expected at most ${mostText}` } : undefined
}

function inUnits(value: string, units: Units): number | undefined {
  const [, digits, unit] = /^(\d{1,12})([a-z]+)$/.exec(value) ?? []
  const factor = unit !== undefined && Object.hasOwn(units, unit) ? units[unit] : undefined
  return factor === undefined ? undefined : Number(digits) * factor
}

const OTHER_NAMES: Readonly<Record<string, string>> = {
  sec: "s",
  secs: "s",
  second: "s",
  seconds: "s",
  min: "m",
  mins: "m",
  minute: "m",
  minutes: "m",
  hour: "h",
  hours: "h",
  hr: "h",
  day: "d",
  days: "d",
  byte: "b",
  bytes: "b",
  k: "kb",
  kib: "kb",
  mib: "mb",
  g: "gb",
  gib: "gb",
}

/** "10 MB" → `write "10mb"`. */
function respell(value: string, units: Units): string | undefined {
  const [, digits, name] = /^(\d{1,12})\s*([a-z]+)$/.exec(value.trim().toLowerCase()) ?? []
  if (name === undefined) return undefined
  const unit = Object.hasOwn(units, name) ? name : Object.hasOwn(OTHER_NAMES, name) ? OTHER_NAMES[name] : undefined
  return unit !== undefined && Object.hasOwn(units, unit) ? `write "${digits}${unit}"` : undefined
}
