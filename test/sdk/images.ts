import assert from "node:assert/strict"
import { crc32, deflateSync } from "node:zlib"

export interface Metadata {
  readonly orientation: number
  readonly littleEndian?: boolean
}

/** A grey pixel or so: real tables are of no matter to what is tested, their markers are. */
export function jpeg(metadata: Metadata | null): Buffer {
  const added = (...segments: Buffer[]) => (metadata === null ? [] : segments)
  const jfif = segment(0xe0, Buffer.from("JFIF\0\x01\x01\0\0\x01\0\x01\0\0", "latin1"))
  const adobe = segment(0xee, Buffer.from("Adobe\0d\0\0\0\0\0", "latin1"))
  return Buffer.concat([
    Buffer.from("ffd8", "hex"),
    jfif,
    ...added(
      segment(0xe1, exif(metadata?.orientation ?? 1, metadata?.littleEndian ?? false)),
      segment(0xe1, Buffer.from("http://ns.adobe.com/xap/1.0/\0<x>SECRET</x>")),
    ),
    segment(0xe2, Buffer.from("ICC_PROFILE\0\x01\x01profile", "latin1")),
    ...added(
      segment(0xe2, Buffer.from("MPF\0SECRET")),
      segment(0xed, Buffer.from("Photoshop 3.0\0SECRET")),
      Buffer.from("ff", "hex"),
      segment(0xfe, Buffer.from("SECRET comment")),
    ),
    adobe,
    segment(0xdb, Buffer.alloc(65, 1)),
    segment(0xc2, Buffer.from("080001000101011100", "hex")),
    segment(0xda, Buffer.from("010100000000", "hex")),
    // Stuffed zero, restart, and a second scan of a progressive picture.
    Buffer.from("12ff0034ffd056", "hex"),
    segment(0xc4, Buffer.alloc(17)),
    segment(0xda, Buffer.from("010100000000", "hex")),
    Buffer.from("78ff00", "hex"),
    Buffer.from("ffd9", "hex"),
    ...added(Buffer.from("SECRET movie behind the end")),
  ])
}

export function jpegWith(inserted: Buffer): Buffer {
  const scan = Buffer.concat([segment(0xda, Buffer.from("010100000000", "hex")), Buffer.from("12ff00ffd9", "hex")])
  return Buffer.concat([Buffer.from("ffd8", "hex"), inserted, scan])
}

export function segment(marker: number, content: Buffer): Buffer {
  const head = Buffer.from([0xff, marker, 0, 0])
  head.writeUInt16BE(content.length + 2, 2)
  return Buffer.concat([head, content])
}

/** Two entries: a text of the maker, and the orientation. Source: TIFF 6.0, section 2. */
function exif(orientation: number, littleEndian: boolean): Buffer {
  const tiff = Buffer.alloc(38)
  const u16 = (value: number, at: number) =>
    littleEndian ? tiff.writeUInt16LE(value, at) : tiff.writeUInt16BE(value, at)
  const u32 = (value: number, at: number) =>
    littleEndian ? tiff.writeUInt32LE(value, at) : tiff.writeUInt32BE(value, at)
  tiff.write(littleEndian ? "II" : "MM", "latin1")
  u16(42, 2)
  u32(8, 4)
  u16(2, 8)
  for (const [at, tag, type, count] of [
    [10, 0x010f, 2, 6],
    [22, 0x0112, 3, 1],
  ] as const) {
    u16(tag, at)
    u16(type, at + 2)
    u32(count, at + 4)
  }
  u32(38, 18)
  u16(orientation, 30)
  return Buffer.concat([Buffer.from("Exif\0\0"), tiff, Buffer.from("SECRET\0")])
}

export function orientationOf(image: Buffer): number {
  const at = image.indexOf("Exif\0\0MM")
  assert.notEqual(at, -1)
  return image.readUInt16BE(at + 6 + 8 + 2 + 8)
}

/** Two by two, with or without what tells of its maker. */
export function png(metadata: boolean): Buffer {
  const header = Buffer.from("00000002000000020800000000", "hex")
  const pixels = deflateSync(Buffer.from("000102000304", "hex"))
  return Buffer.concat([
    Buffer.from("89504e470d0a1a0a", "hex"),
    chunk("IHDR", header),
    chunk("gAMA", Buffer.from("0000b18f", "hex")),
    ...(metadata
      ? ["tEXt", "zTXt", "iTXt", "eXIf", "tIME"].map((kind) => chunk(kind, Buffer.from("Author\0SECRET")))
      : []),
    chunk("IDAT", pixels),
    chunk("IEND", Buffer.alloc(0)),
    ...(metadata ? [Buffer.from("SECRET behind the end")] : []),
  ])
}

function chunk(kind: string, content: Buffer): Buffer {
  const typed = Buffer.concat([Buffer.from(kind), content])
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(content.length)
  check.writeUInt32BE(crc32(typed))
  return Buffer.concat([length, typed, check])
}
