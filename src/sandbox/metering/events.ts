/** What happens at a place of a function body. */
export const EVENT = {
  /** Never written: gathers the cost of code that cannot be reached or is not charged. Always event 0. */
  sink: 0,
  /** A straight run of instructions starts; its value is their cost. */
  charge: 1,
  /** The same, where the counter must be looked at: every endless execution passes such places again and again. */
  checkedCharge: 2,
  /** `ref.func`; its value is the function's index, and `resumes` says where the instruction ends. */
  functionReference: 3,
  /** `call` and `return_call`; value and end as above. */
  call: 4,
  /** `call_indirect` and `return_call_indirect`; the end as above. */
  callIndirect: 5,
  return: 6,
  /** An instruction that costs by the count on top of the stack; its value is an index into `SIZED_COSTS`. */
  sized: 7,
  /** A loop that turned out to have other loops or calls in it. Never written. */
  plainLoop: 8,
  /** A loop without loops and calls in it, and no parameters: its check can leave it. `resumes` says where its type ends. */
  tightLoop: 9,
  /** The checked charge of a tight loop. */
  tightLoopCharge: 10,
  /** Behind the end of a tight loop; its value is the event of its charge. */
  tightLoopEnd: 11,
  /** `br` or `br_if` to a label outside the innermost loop; its value is the label, `resumes` where the instruction ends. */
  leavingBranch: 12,
  /** The same of a `br_table`; its value is the label of the innermost loop. */
  leavingTable: 13,
  /** A `call` of a function that does not touch the counter; value and end as of `call`. */
  callOfLeaf: 14,
} as const
