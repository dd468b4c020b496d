import type { Cart } from "./cart.ts"

export interface Rules {
  readonly prices_include_tax: boolean
  readonly quantity_discounts?: readonly {
    readonly sku: string
    readonly min_quantity: number
    readonly percent: number
  }[]
  readonly coupons?: { readonly [code: string]: Coupon }
  readonly tax?: { readonly [country: string]: number }
}

type Coupon = { readonly percent?: number; readonly amount?: number; readonly min_subtotal?: number }

export interface Pricing {
  readonly lines: readonly { sku: string; quantity: number; unit_price: number; discount: number; total: number }[]
  /** Of the lines, their discounts taken off. */
  readonly subtotal: number
  readonly coupon: { readonly code: string; readonly discount: number } | null
  readonly tax: { readonly country: string; readonly percent: number; readonly amount: number } | null
  readonly total: number
}

/**
 * Prices a cart. Every percentage is taken once, of a whole amount, and rounded half up there; the sums are exact.
 * @returns null when an amount is beyond what JSON numbers hold exactly.
 */
export function price(cart: Cart, rules: Rules): Pricing | null {
  const lines = cart.items.map((item) => {
    const gross = BigInt(item.unit_price) * BigInt(item.quantity)
    const discount = share(gross, bestDiscount(item.sku, item.quantity, rules))
    return { ...item, gross, discount, total: gross - discount }
  })
  const subtotal = lines.reduce((sum, { total }) => sum + total, 0n)
  const coupon = couponFor(cart, subtotal, rules)
  const due = subtotal - (coupon?.discount ?? 0n)
  const tax = taxFor(cart, due, rules)
  const total = tax === null || rules.prices_include_tax ? due : due + tax.amount
  const largest = lines.reduce((most, { gross }) => (gross > most ? gross : most), total > subtotal ? total : subtotal)
  if (largest > BigInt(Number.MAX_SAFE_INTEGER)) return null
  return {
    lines: lines.map(({ sku, quantity, unit_price, discount, total }) => ({
      ...{ sku, quantity, unit_price },
      ...{ discount: Number(discount), total: Number(total) },
    })),
    subtotal: Number(subtotal),
    coupon: coupon && { code: coupon.code, discount: Number(coupon.discount) },
    tax: tax && { ...tax, amount: Number(tax.amount) },
    total: Number(total),
  }
}

function bestDiscount(sku: string, quantity: number, { quantity_discounts = [] }: Rules): number {
  const fitting = quantity_discounts.filter(
    (row) => (row.sku === "*" || row.sku === sku) && row.min_quantity <= quantity,
  )
  return Math.max(0, ...fitting.map(({ percent }) => percent))
}

/** @returns null when there is no such coupon, or the cart is too small for it. */
function couponFor({ coupon: code }: Cart, subtotal: bigint, { coupons = {} }: Rules) {
  if (code === null || !Object.hasOwn(coupons, code)) return null
  const { percent, amount = 0, min_subtotal = 0 } = coupons[code]!
  if (subtotal < BigInt(min_subtotal)) return null
  const discount = percent === undefined ? BigInt(amount) : share(subtotal, percent)
  return { code, discount: discount < subtotal ? discount : subtotal }
}

function taxFor({ country }: Cart, due: bigint, { tax = {}, prices_include_tax }: Rules) {
  if (country === null || !Object.hasOwn(tax, country)) return null
  const percent = tax[country]!
  const rate = basisPoints(percent)
  const amount = prices_include_tax ? divide(due * rate, WHOLE + rate) : share(due, percent)
  return { country, percent, amount }
}

/** 100 %, in basis points. */
const WHOLE = 10_000n

function share(amount: bigint, percent: number): bigint {
  return divide(amount * basisPoints(percent), WHOLE)
}

/** Hundredths of a percent: what a percentage may say at most. */
function basisPoints(percent: number): bigint {
  return BigInt(Math.round(percent * 100))
}

/** Half is rounded up. Neither number is negative. */
function divide(amount: bigint, by: bigint): bigint {
  return (2n * amount + by) / (2n * by)
}
