// Control characters, and the invisible ones that reorder or hide text on a terminal (Unicode Bidi_Control, Cf).
// biome-ignore lint/suspicious/noControlCharactersInRegex: matching them is the purpose
const INVISIBLE = /[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g

/** Text of a stranger's file, made safe for a terminal: what cannot be seen is shown as \u{…}. */
export function printable(text: string): string {
  return text.replace(INVISIBLE, (character) =>
    character === "\t" ? " " : `\\u{${character.codePointAt(0)!.toString(16)}}`,
  )
}
