import { PluginError } from "../../../errors.ts"
import type { Guest } from "../abi.ts"
import type { WrittenBody } from "./written-body.ts"

const MAX_FIELDS = 256
const MAX_FIELD_BYTES = 32 * 1024

/** A response field set in `handle_request`; `added`: beside what else has this name. Names are in lower case. */
export type Field = readonly [name: string, value: string, added: boolean]

/** The response that `handle_request` prepares. Its fields stay when the app answers instead. */
export class Answer {
  status = 200
  body: WrittenBody | null = null
  readonly headers: FieldList
  readonly trailers: FieldList

  constructor(guest: Guest) {
    const room = new Room(guest)
    this.headers = new FieldList(room)
    this.trailers = new FieldList(room)
  }
}

/** A header section or a trailer section. */
export class FieldList {
  readonly #room: Room
  #fields: Field[] = []

  constructor(room: Room) {
    this.#room = room
  }

  get fields(): readonly Field[] {
    return this.#fields
  }

  values(name: string): readonly string[] {
    return this.#fields.filter(([one]) => one === name).map(([, value]) => value)
  }

  set(name: string, value: string): void {
    this.remove(name)
    this.#put([name, value, false])
  }

  add(name: string, value: string): void {
    this.#put([name, value, true])
  }

  remove(name: string): void {
    this.#fields = this.#fields.filter(([one]) => one !== name)
  }

  #put(field: Field): void {
    this.#room.take(field, this.#fields.length)
    this.#fields.push(field)
  }
}

/** What all fields of an answer have together. */
class Room {
  readonly #guest: Guest
  /** Of names and values set by the call, taken back or not. */
  #bytes = 0

  constructor(guest: Guest) {
    this.#guest = guest
  }

  take([name, value]: Field, fields: number): void {
    this.#bytes += name.length + value.length + 4
    if (this.#bytes <= MAX_FIELD_BYTES && fields < MAX_FIELDS) return
    const what = `handle_request set more than ${MAX_FIELDS} response fields or ${MAX_FIELD_BYTES} bytes of them`
    throw new PluginError("E_LIMIT_MESSAGE", this.#guest.name, what)
  }
}
