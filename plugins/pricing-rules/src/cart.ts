/** Amounts are whole numbers of the smallest unit of money, e.g. cents. */
export interface Cart {
  readonly items: readonly { readonly sku: string; readonly quantity: number; readonly unit_price: number }[]
  readonly coupon: string | null
  /** ISO 3166, two capital letters. */
  readonly country: string | null
}

const MAX_PRICE = 1_000_000_000_000
const MAX_QUANTITY = 1_000_000

/** @returns The cart in a JSON value of a stranger, or what is wrong with it. */
export function readCart(value: unknown, maxItems: number): Cart | string {
  if (!isObject(value)) return "expected an object"
  const { items } = value
  if (!Array.isArray(items)) return "expected a list called items"
  if (items.length > maxItems) return `more than ${maxItems} items`
  for (const [index, item] of items.entries()) {
    const problem = checkItem(item)
    if (problem !== null) return `items[${index}]: ${problem}`
  }
  const { coupon = null, country = null } = value
  if (coupon !== null && (typeof coupon !== "string" || coupon.length > 100)) return "coupon: expected a text"
  if (country !== null && (typeof country !== "string" || !/^[A-Z]{2}$/.test(country))) {
    return "country: expected two capital letters"
  }
  return { items: items as Cart["items"], coupon, country }
}

function checkItem(item: unknown): string | null {
  if (!isObject(item)) return "expected an object"
  if (typeof item.sku !== "string" || item.sku === "" || item.sku.length > 100) return "sku: expected a text"
  if (!isWhole(item.quantity, 1, MAX_QUANTITY)) return `quantity: expected a whole number from 1 to ${MAX_QUANTITY}`
  if (!isWhole(item.unit_price, 0, MAX_PRICE)) return `unit_price: expected a whole number from 0 to ${MAX_PRICE}`
  return null
}

function isWhole(value: unknown, min: number, max: number): boolean {
  return typeof value === "number" && Number.isInteger(value) && value >= min && value <= max
}

export function isObject(value: unknown): value is { readonly [key: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}
