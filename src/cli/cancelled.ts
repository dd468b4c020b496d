/** The person pressed Ctrl-C, or ended the input, instead of an answer. Nothing was changed. */
export class Cancelled extends Error {
  override readonly name = "Cancelled"
}
