// Short addresses for resized images, signed for imgproxy.
import { CONTINUE, Field, fail, fromHex, getConfig, getSecret, hmacSha256, request, toBase64url, toBytes } from "./bext"

export { bext_alloc } from "./bext"

const MAX_IMAGE_BYTES = 1024

const prefix = getConfig("prefix")!
const servicePrefix = getConfig("service_prefix")!
const source = getConfig("source")!
const maxWidth = I32.parseInt(getConfig("max_width")!)
const maxHeight = I32.parseInt(getConfig("max_height")!)

export function on_request(): i32 {
  const path = request.path
  if (!path.startsWith(prefix)) return CONTINUE
  const method = request.method
  if (method !== "GET" && method !== "HEAD") {
    return request.respondText(405, "use GET or HEAD\n", [new Field("allow", "GET, HEAD")])
  }
  const image = parseImage(path.substring(prefix.length))
  if (image === null) return request.respondText(400, `use ${prefix}w=300,h=200,fit=fill/path/of/image\n`)
  const key = hexSecret("IMAGE_KEY")
  if (key.length === 0) return fail("IMAGE_KEY is not hexadecimal, or empty")
  const salt = hexSecret("IMAGE_SALT")
  if (salt.length === 0) return fail("IMAGE_SALT is not hexadecimal, or empty")
  const target = image.target()
  return request.setPath(`${servicePrefix}/${toBase64url(hmacSha256(key, join(salt, toBytes(target))))}${target}`)
}

class Image {
  width: i32 = 0
  height: i32 = 0
  fit: string = ""
  constructor(public path: string) {}

  /** imgproxy's address of the image, without its signature. */
  target(): string {
    const fit = this.fit === "" ? "fit" : this.fit
    const size = `${min(this.width, maxWidth)}:${min(this.height, maxHeight)}`
    return `/rs:${fit}:${size}/${toBase64url(toBytes(source + this.path))}`
  }
}

/** What follows the prefix, such as "w=300,h=200,fit=fill/photos/cat.jpg"; null: something else does. */
function parseImage(rest: string): Image | null {
  const slash = rest.indexOf("/")
  if (slash < 0) return null
  const image = new Image(rest.substring(slash + 1))
  const bytes = String.UTF8.byteLength(image.path)
  if (bytes === 0 || bytes > MAX_IMAGE_BYTES) return null
  const options = rest.substring(0, slash).split(",")
  for (let i = 0; i < options.length; i++) {
    if (!setOption(image, options[i])) return null
  }
  return image.width > 0 || image.height > 0 ? image : null
}

/** @returns whether it is an option, and the first of its kind. */
function setOption(image: Image, option: string): bool {
  if (option.startsWith("w=") && image.width === 0) {
    image.width = toPixels(option.substring(2))
    return image.width > 0
  }
  if (option.startsWith("h=") && image.height === 0) {
    image.height = toPixels(option.substring(2))
    return image.height > 0
  }
  if ((option === "fit=fit" || option === "fit=fill") && image.fit === "") {
    image.fit = option.substring(4)
    return true
  }
  return false
}

/** 1 to 5 digits; 0: it is something else. */
function toPixels(text: string): i32 {
  if (text.length > 5) return 0
  let pixels = 0
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30
    if (digit < 0 || digit > 9) return 0
    pixels = pixels * 10 + digit
  }
  return pixels
}

/** Empty: it is none. */
function hexSecret(name: string): Uint8Array {
  const secret = getSecret(name)
  if (secret === null) return new Uint8Array(0)
  const bytes = fromHex(secret)
  return bytes === null ? new Uint8Array(0) : bytes
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const joined = new Uint8Array(a.length + b.length)
  joined.set(a)
  joined.set(b, a.length)
  return joined
}
