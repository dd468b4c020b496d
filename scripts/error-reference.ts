import { EXPLANATIONS } from "../src/cli/explanations.ts"
import { ERRORS, type ErrorCode } from "../src/errors.ts"

/** docs/errors.md: every code with status, blame, explanation and steps. */
export function errorReference(): string {
  const codes = Object.keys(ERRORS) as ErrorCode[]
  return `${[INTRODUCTION, ...codes.map(section)].join("\n\n")}\n`
}

const INTRODUCTION = `<!-- Written by \`npm run schemas\` from src/errors.ts and src/cli/explanations.ts. -->
# Errors

Every failure bext can name has a code that never changes its meaning. Clients see the code, the status and a request id;
the rest is in the log. \`bext explain CODE\` shows the same text as this page.

**Who is to blame** says who can mend it: the *client* that sent the request, the *guest* (the plugin), the *operator* (who
configures and starts bext) or the *host* (bext itself).`

function section(code: ErrorCode): string {
  const { status, blame, hint } = ERRORS[code]
  const explanation = EXPLANATIONS[code]
  const lines = [`## ${code}`, "", `Status ${status} · blame: ${blame} · ${hint}`]
  if (explanation === undefined) return lines.join("\n")
  lines.push("", explanation.happened, "", ...explanation.steps.map((step, index) => `${index + 1}. ${step}`))
  if (explanation.related.length > 0) {
    lines.push("", `Related: ${explanation.related.map((other) => `[${other}](#${other.toLowerCase()})`).join(", ")}`)
  }
  return lines.join("\n")
}
