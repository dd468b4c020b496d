import type { LogLevel } from "../../../host/services.ts"
import type { Json } from "../../sandbox.ts"
import { define } from "./abi-function.ts"
import type { Conversation } from "./conversation.ts"

/** Characters of JSON no valid set of tags reaches; far less work than a whole message. */
const MAX_TAGS = 16 * 1024
const LEVELS: ReadonlyMap<string, LogLevel> = new Map(
  (["debug", "info", "warn", "error"] as const).map((level) => [level, level]),
)

/** Functions about what the plugin has: configuration, secrets, log, metrics. */
export const PLUGIN_FUNCTIONS = {
  get_config: define(
    "(i32 i32) -> (i64)",
    (talk, key, length) => {
      const { config } = talk.guest.services
      const name = talk.name(key, length)
      const value = name === "" ? config : ownValue(config, name)
      if (value === undefined) return 0n
      if (typeof value === "string") return talk.newText(value)
      const json = JSON.stringify(value)
      talk.guest.charge(json.length)
      return talk.newText(json)
    },
    { fuel: 500, early: true },
  ),
  get_secret: define("(i32 i32) -> (i64)", (talk, name, length) =>
    talk.newText(talk.guest.services.secret(talk.text(name, length))),
  ),
  log: define(
    "(i32 i32 i32 i32) -> ()",
    (talk, level, levelLength, message, messageLength) => {
      const known = LEVELS.get(talk.name(level, levelLength)) ?? "info"
      talk.guest.services.log(known, talk.text(message, messageLength))
    },
    { fuel: 10_000, early: true },
  ),
  emit_metric: define(
    "(i32 i32 f64 i32 i32) -> ()",
    (talk, name, nameLength, value, tags, tagsLength) => {
      talk.guest.services.metric(talk.name(name, nameLength), value, toTags(talk, talk.text(tags, tagsLength)))
    },
    { fuel: 5_000 },
  ),
}

function ownValue(config: Json, key: string): Json | undefined {
  if (typeof config !== "object" || config === null || !Object.hasOwn(config, key)) return undefined
  return (config as { readonly [key: string]: Json })[key]
}

function toTags(talk: Conversation, text: string): Record<string, string> {
  if (text === "") return {}
  if (text.length > MAX_TAGS) throw talk.mistake(`emit_metric: tags of more than ${MAX_TAGS} characters`)
  const tags = talk.json(text, "emit_metric")
  if (typeof tags !== "object" || tags === null || Array.isArray(tags)) {
    throw talk.mistake("emit_metric: expected an object of tags")
  }
  return Object.fromEntries(Object.entries(tags).map(([name, tag]) => [name, tagText(talk, tag)]))
}

function tagText(talk: Conversation, tag: Json): string {
  if (typeof tag === "object") throw talk.mistake("emit_metric: a tag is a text, a number, true or false")
  return String(tag)
}
