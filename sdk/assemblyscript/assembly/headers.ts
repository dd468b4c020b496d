import * as host from "./bext"
import { at, check, takeText, toUtf8 } from "./memory"

/** One header field. */
export class Field {
  constructor(
    public name: string,
    public value: string,
  ) {}
}

/** The header fields of a request or a response, asked for when they are read. Names in any case. */
export class Headers {
  constructor(private side: i32) {}

  /** The value; null when it is absent or hidden from this plugin. Repeated fields are joined by ", ". */
  get(name: string): string | null {
    const bytes = toUtf8(name)
    return takeText(host.get_header(this.side, at(bytes), bytes.byteLength))
  }

  /** The fields in order, names in lower case. */
  all(): Field[] {
    const fields: Field[] = []
    const list = takeText(host.get_headers(this.side))
    if (list == null) return fields
    const parts = list.split("\0")
    for (let i = 0; i + 1 < parts.length; i += 2) fields.push(new Field(parts[i], parts[i + 1]))
    return fields
  }

  /** Replaces the fields of that name. Refused: E_HEADER_FORBIDDEN, E_HEADER_INVALID. */
  set(name: string, value: string): i32 {
    const nameBytes = toUtf8(name)
    const bytes = toUtf8(value)
    return check(host.set_header(this.side, at(nameBytes), nameBytes.byteLength, at(bytes), bytes.byteLength))
  }

  /** Keeps the fields of that name. Refused as `set`. */
  append(name: string, value: string): i32 {
    const nameBytes = toUtf8(name)
    const bytes = toUtf8(value)
    return check(host.append_header(this.side, at(nameBytes), nameBytes.byteLength, at(bytes), bytes.byteLength))
  }

  /** Removes the fields of that name. Refused as `set`. */
  remove(name: string): i32 {
    const bytes = toUtf8(name)
    return check(host.remove_header(this.side, at(bytes), bytes.byteLength))
  }
}

/** The ABI's list of fields. A NUL in one would begin another. */
export function toPairs(fields: Field[]): string {
  let list = ""
  for (let i = 0; i < fields.length; i++) list += `${clean(fields[i].name)}\0${clean(fields[i].value)}\0`
  return list
}

function clean(text: string): string {
  return text.replaceAll("\0", "\ufffd")
}
