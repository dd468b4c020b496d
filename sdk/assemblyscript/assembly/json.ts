import { hexDigit } from "./encoding"

/** Levels of lists and objects that are read. */
const MAX_LEVELS: i32 = 64

/** What a JSON text says. Source: RFC 8259. */
export class Json {
  /** "object", "array", "string", "number", "boolean" or "null". */
  kind: string = "null"
  /** A string's text; a number as it was written; "true" or "false". */
  text: string = ""
  /** A list's items. */
  items: Json[] = []
  /** An object's names; the last of two equal ones counts. */
  members: Map<string, Json> = new Map()

  get number(): f64 {
    return this.kind === "number" ? F64.parseFloat(this.text) : NaN
  }

  get isTrue(): bool {
    return this.kind === "boolean" && this.text === "true"
  }

  /** An object's member; null: there is none, or this is no object. */
  get(name: string): Json | null {
    return this.members.has(name) ? this.members.get(name) : null
  }

  isText(text: string): bool {
    return this.kind === "string" && this.text === text
  }
}

/** @returns null: it is not JSON, or has over 64 levels. */
export function parseJson(text: string): Json | null {
  const reader = new Reader(text)
  const value = reader.value(MAX_LEVELS)
  reader.space()
  return reader.at === text.length ? value : null
}

/** Text as JSON has it. */
export function quote(text: string): string {
  let quoted = '"'
  for (let i = 0; i < text.length; i++) {
    const character = text.charCodeAt(i)
    if (character === 0x22 || character === 0x5c) quoted += `\\${text.charAt(i)}`
    else if (character < 0x20) quoted += `\\u00${character < 0x10 ? "0" : ""}${character.toString(16)}`
    else quoted += text.charAt(i)
  }
  return `${quoted}"`
}

/** Each method reads from `at` on, and gives null when something else is there. */
class Reader {
  at: i32 = 0

  constructor(private text: string) {}

  value(levels: i32): Json | null {
    this.space()
    const character = this.peek()
    if (character === 0x22) return this.string()
    if (character === 0x7b) return levels > 0 ? this.object(levels - 1) : null
    if (character === 0x5b) return levels > 0 ? this.array(levels - 1) : null
    if (character === 0x74) return this.word("true", "boolean")
    if (character === 0x66) return this.word("false", "boolean")
    if (character === 0x6e) return this.word("null", "null")
    return this.number()
  }

  space(): void {
    let character = this.peek()
    while (character === 0x20 || character === 0x0a || character === 0x0d || character === 0x09) {
      this.at++
      character = this.peek()
    }
  }

  private object(levels: i32): Json | null {
    const json = new Json()
    json.kind = "object"
    this.at++
    this.space()
    if (this.take(0x7d)) return json
    while (true) {
      this.space()
      const name = this.string()
      this.space()
      if (name == null || !this.take(0x3a)) return null
      const member = this.value(levels)
      if (member == null) return null
      json.members.set(name.text, member)
      this.space()
      if (this.take(0x7d)) return json
      if (!this.take(0x2c)) return null
    }
  }

  private array(levels: i32): Json | null {
    const json = new Json()
    json.kind = "array"
    this.at++
    this.space()
    if (this.take(0x5d)) return json
    while (true) {
      const item = this.value(levels)
      if (item == null) return null
      json.items.push(item)
      this.space()
      if (this.take(0x5d)) return json
      if (!this.take(0x2c)) return null
    }
  }

  private string(): Json | null {
    if (!this.take(0x22)) return null
    const json = new Json()
    json.kind = "string"
    let start = this.at
    while (true) {
      const character = this.peek()
      if (character < 0x20) return null
      if (character === 0x22) {
        json.text += this.text.substring(start, this.at++)
        return json
      }
      if (character !== 0x5c) {
        this.at++
        continue
      }
      json.text += this.text.substring(start, this.at++)
      const escaped = this.escape()
      if (escaped < 0) return null
      json.text += String.fromCharCode(escaped)
      start = this.at
    }
  }

  /** What follows a backslash; -1: nothing that may. */
  private escape(): i32 {
    const character = this.peek()
    this.at++
    if (character === 0x22 || character === 0x5c || character === 0x2f) return character
    if (character === 0x62) return 0x08
    if (character === 0x66) return 0x0c
    if (character === 0x6e) return 0x0a
    if (character === 0x72) return 0x0d
    if (character === 0x74) return 0x09
    if (character !== 0x75) return -1
    let unit = 0
    for (let i = 0; i < 4; i++) {
      const digit = hexDigit(this.peek())
      if (digit < 0) return -1
      unit = unit * 16 + digit
      this.at++
    }
    return unit
  }

  private number(): Json | null {
    const start = this.at
    this.take(0x2d)
    if (!this.take(0x30) && !this.digits()) return null
    if (this.take(0x2e) && !this.digits()) return null
    if (this.take(0x65) || this.take(0x45)) {
      if (!this.take(0x2b)) this.take(0x2d)
      if (!this.digits()) return null
    }
    const json = new Json()
    json.kind = "number"
    json.text = this.text.substring(start, this.at)
    return json
  }

  private digits(): bool {
    const start = this.at
    let character = this.peek()
    while (character >= 0x30 && character <= 0x39) {
      this.at++
      character = this.peek()
    }
    return this.at > start
  }

  private word(word: string, kind: string): Json | null {
    if (!this.text.substring(this.at, this.at + word.length).startsWith(word)) return null
    this.at += word.length
    const json = new Json()
    json.kind = kind
    json.text = word
    return json
  }

  private take(character: i32): bool {
    if (this.peek() !== character) return false
    this.at++
    return true
  }

  /** -1 at the end. */
  private peek(): i32 {
    return this.at < this.text.length ? this.text.charCodeAt(this.at) : -1
  }
}
