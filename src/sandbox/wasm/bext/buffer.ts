/**
 * A buffer as one i64: the address in the upper half, the length in the lower one. With address 0 the lower half is a
 * negative code, or 0 for none.
 */
export function packBuffer(address: number, length: number): bigint {
  // Arithmetic on bigints would allocate several of them.
  halves[LOW] = length
  halves[1 - LOW] = address
  return whole[0]!
}

/** @returns unsigned halves. */
export function unpackBuffer(buffer: bigint): { address: number; length: number } {
  whole[0] = BigInt.asUintN(64, buffer)
  return { address: halves[1 - LOW]!, length: halves[LOW]! }
}

const whole = new BigUint64Array(1)
const halves = new Uint32Array(whole.buffer)
/** Which half this machine stores first. */
const LOW = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 0 : 1
