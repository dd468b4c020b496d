import { z } from "zod"

/** What is wrong with a value, and what to write instead. */
export interface Complaint {
  /** "expected …"; the value that was found is added by the report. */
  readonly what: string
  readonly fix?: string | undefined
  /** The value may hold a secret and must not be shown. */
  readonly hidden?: boolean
}

/** A schema with one more rule, which says what is wrong in the operator's words. */
export function checked<T extends z.ZodType>(schema: T, rule: (value: z.output<T>) => Complaint | undefined): T {
  return schema.check((context) => {
    const complaint = rule(context.value as z.output<T>)
    if (complaint === undefined) return
    context.issues.push({
      code: "custom",
      message: complaint.what,
      params: { fix: complaint.fix, hidden: complaint.hidden },
      input: context.value,
    })
  })
}

/**
 * A text with a rule.
 * @param example - Shown when something that is not text was written.
 * @param pattern - What the JSON Schema says of it; the rule has better words.
 */
export const text = (example: string, rule: (value: string) => Complaint | undefined, pattern?: RegExp): z.ZodString =>
  checked(z.string(), rule).meta({ examples: [example], ...(pattern && { pattern: pattern.source }) })
