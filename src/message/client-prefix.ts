import ipaddr from "ipaddr.js"
import { LRUCache } from "lru-cache"

const MAX_REMEMBERED = 4_096

/**
 * The part of an address that one client cannot change at will: an IPv4 address as it is, of an IPv6 address the leading
 * bits. A site gets at least a /64 (RFC 6177), so counting single IPv6 addresses would count nobody.
 * @param bits - Leading bits of an IPv6 address that count, 1 to 128.
 * @returns A function from canonical address to key. Text that is no address is its own key.
 */
export function createClientPrefix(bits: number): (address: string) => string {
  const remembered = new LRUCache<string, string>({ max: MAX_REMEMBERED })
  return (address) => {
    if (!address.includes(":")) return address
    let prefix = remembered.get(address)
    if (prefix === undefined) {
      prefix = toPrefix(address, bits)
      remembered.set(address, prefix)
    }
    return prefix
  }
}

function toPrefix(address: string, bits: number): string {
  if (!ipaddr.IPv6.isValid(address)) return address
  const parsed = ipaddr.IPv6.parse(address)
  if (parsed.isIPv4MappedAddress()) return parsed.toIPv4Address().toString()
  const bytes = parsed.toByteArray()
  for (let i = 0; i < bytes.length; i++) bytes[i]! &= 0xff << Math.min(8, Math.max(0, (i + 1) * 8 - bits))
  return `${ipaddr.fromByteArray(bytes)}/${bits}`
}
